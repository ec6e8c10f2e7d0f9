"""The tokenizer: known words whole, any text at all, CLIP's own conventions."""

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from mos_zoo.training.tokenizer import (
    CONTEXT,
    encode,
    load_tokenizer,
    save_vocabulary,
    vocabulary,
)
from mos_zoo.world.words import known_words


def test_every_known_word_is_one_token() -> None:
    tokenizer = load_tokenizer()
    words = known_words()
    ids = tokenizer(words, add_special_tokens=False).input_ids
    assert [word for word, own in zip(words, ids, strict=True) if len(own) != 1] == []
    assert len({own[0] for own in ids}) == len(words)


@pytest.mark.parametrize(
    "text",
    [
        "a red cat with yellow stripes on the beach",
        "xylophone qwerty 42",
        "caffè with naïve øre, 猫 and 🤖!",
    ],
)
def test_no_text_is_unknown_and_all_come_back(text: str) -> None:
    tokenizer = load_tokenizer()
    ids = tokenizer(text, add_special_tokens=False).input_ids
    unknown = tokenizer.unk_token_id
    assert unknown not in ids or unknown == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in ids
    spoken = tokenizer.decode(ids).replace(" ", "")
    assert spoken == text.replace(" ", "")


def test_begin_and_end_are_the_last_ids_and_pad(tmp_path: Path) -> None:
    size = len(vocabulary()[0])
    (row,) = encode(load_tokenizer(), ["a cat"])
    assert row.shape == (CONTEXT,)
    assert row[0] == size - 2
    assert set(row[3:]) == {size - 1}


def test_long_texts_keep_their_end_token() -> None:
    (row,) = encode(load_tokenizer(), ["cat " * 100])
    assert row[-1] == len(vocabulary()[0]) - 1


def test_saved_files_are_an_ordinary_clip_tokenizer(tmp_path: Path) -> None:
    save_vocabulary(tmp_path)
    read = CLIPTokenizer.from_pretrained(tmp_path, model_max_length=CONTEXT)
    text = "a striped dog at night"
    assert read(text).input_ids == load_tokenizer()(text).input_ids
