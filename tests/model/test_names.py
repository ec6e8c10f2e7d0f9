"""Which words may stand in prompts, on terminals and on pages."""

import pytest

from mos_model.concepts.names import checked_class_word
from mos_model.errors import ConceptError

ORDINARY = [
    *(
        "cat",
        "stained glass",
        "T-shirt",
        "bird's nest",
        "Schäferhund",
        "R2-D2",
        "3D cup",
    ),
    *("собака", "狗", "कुत्ता", "หมาตัวนี้", "con chó", "כלב"),
]
OTHER = [
    *("", " cat", "cat ", "a  cat", "<rex>", "<north/rex>", "[/nope]", "a|b", "`a`"),
    *(
        "cat\n",
        "cat\u200b",
        "cat\u202e",
        "*cat*",
        "a_b",
        "{cat}",
        "cat\u0301" + "\u0301" * 3,
    ),
    *("-cat", "\u0301cat", "a" * 65, "cat, dog", "(cat:1.5)"),
]


@pytest.mark.parametrize("word", ORDINARY)
def test_ordinary_words_are_class_words(word: str) -> None:
    assert checked_class_word(word) == word


@pytest.mark.parametrize("word", OTHER)
def test_markup_and_other_texts_are_no_class_words(word: str) -> None:
    with pytest.raises(ConceptError, match="a class word is 1 to 64 letters") as error:
        checked_class_word(word)
    assert str(error.value).isprintable()
