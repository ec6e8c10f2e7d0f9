"""Captions are judged by tokenizers alone, before a base is loaded."""

from pathlib import Path

import pytest

from mos_client.pictures import Picture, scan_folder
from mos_client.tuning.data.captions import JudgedCaptions, judge_captions, prompts_of
from mos_model.prompts.prompt_tokens import PromptTokenizer
from tests.support.bases import TOKENS, save_tokenizer
from tests.support.pictures import save_pictures


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> PromptTokenizer:
    tokenizer = save_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return PromptTokenizer({"text_encoder": tokenizer}, {"rex"})


def judged(
    folder: Path, tokenizers: PromptTokenizer, caption: str, file: str = "0.txt"
) -> JudgedCaptions:
    save_pictures(folder, count=2)
    (folder / file).write_text(caption)
    pictures = scan_folder(folder, min_side=1).pictures
    return judge_captions(pictures, tokenizers, "rex")


@pytest.mark.parametrize(
    "foreign", ["<lora:detail:0.6>", "<TOK>", "<Rex>", "<miso>", "<north/rex>"]
)
def test_other_placeholder_is_an_error_with_the_right_one(
    tmp_path: Path, tokenizers: PromptTokenizer, foreign: str
) -> None:
    found = judged(tmp_path, tokenizers, f"a photo of {foreign}, {foreign}")
    (error,) = found.errors
    assert error.file == "0.txt"
    assert error.reason.startswith(f"{foreign}: this concept is <rex>, or {{}}; write")


def test_other_placeholder_in_the_concept_file_is_told_once(
    tmp_path: Path, tokenizers: PromptTokenizer
) -> None:
    content = 'captions = ["a photo of <TOK>", "{} on a sofa"]'
    found = judged(tmp_path, tokenizers, content, "concept.toml")
    assert [error.file for error in found.errors] == ["concept.toml"]


@pytest.mark.parametrize("caption", ["{}, a <3 b", "\\<rex> dog", "a < b > c", "<>"])
def test_angle_brackets_that_are_no_placeholder_are_letters(
    tmp_path: Path, tokenizers: PromptTokenizer, caption: str
) -> None:
    found = judged(tmp_path, tokenizers, caption)
    assert not found.errors
    (prompt,) = prompts_of(found.pictures[0], "rex")
    assert tokenizers.tokenize(prompt).concepts


LONG = {
    "words": "a photo of {} " + "red dog " * 200,
    "placeholder beyond the cut": "red dog " * 200 + "{}",
    "no placeholder": "a red dog on the beach, " * 40,
    "one word": "x" * 900,
    "exactly one too many": "dog " * (TOKENS - 5 + 1),
}


@pytest.mark.parametrize("kind", LONG)
def test_caption_that_is_too_long_is_cut_at_a_word_with_a_note(
    tmp_path: Path, tokenizers: PromptTokenizer, kind: str
) -> None:
    found = judged(tmp_path, tokenizers, LONG[kind])
    assert not found.errors
    (note,) = found.notes
    assert note.file == "0.txt"
    assert f"tokens, the base reads {TOKENS}; cut after" in note.reason
    cut = found.pictures[0].caption
    assert cut
    assert LONG[kind].startswith(cut)
    (prompt,) = prompts_of(found.pictures[0], "rex")
    assert tokenizers.tokenize(prompt).concepts
    assert tokenizers.length(prompt) <= TOKENS
    longer = LONG[kind][: len(cut) + 9].rstrip()
    assert tokenizers.length(_prompt(found.pictures[0], longer)) > TOKENS


def _prompt(picture: Picture, caption: str) -> str:
    (prompt,) = prompts_of(Picture(picture.path, picture.image, caption, None), "rex")
    return prompt


def test_caption_that_just_fits_is_kept(
    tmp_path: Path, tokenizers: PromptTokenizer
) -> None:
    # Start, end, two for the placeholder, one for the comma.
    caption = " ".join(["dog"] * (TOKENS - 5))
    found = judged(tmp_path, tokenizers, caption)
    assert not found.notes
    assert found.pictures[0].caption == caption
    assert tokenizers.length(_prompt(found.pictures[0], caption)) == TOKENS
