"""Names of concepts and sites, and class words: what may stand in a prompt.

A prompt says `<rex>`, or `<site/rex>` where two sites both hold a rex. Names become
file names and keys, so they are short and plain. A class word stands in prompts and on
terminals and pages: it is ordinary words, without brackets or other markup.
"""

import re
import unicodedata
from typing import Final

from mos_model.errors import ConceptError

NAME_RULE: Final = (
    "1 to 64 letters a-z, digits, '-' or '_', beginning with a letter or digit"
)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
CLASS_WORD_RULE: Final = (
    "1 to 64 letters, digits, single spaces, hyphens or apostrophes, beginning with a "
    "letter or digit"
)
_MAX_CLASS_WORD_CHARACTERS: Final = 64
_MAX_MARKS: Final = 3
"""Combining marks on one letter; Hindi and Vietnamese need up to three."""


def is_name(text: str) -> bool:
    """Whether `text` can name a concept or a site."""
    return _NAME.fullmatch(text) is not None


def is_class_word(text: str) -> bool:
    """Whether `text` can name the class of a concept ("dog", "stained glass")."""
    if not text or len(text) > _MAX_CLASS_WORD_CHARACTERS or "  " in text:
        return False
    kinds = "".join(unicodedata.category(letter)[0] for letter in text)
    others = {letter for letter, kind in zip(text, kinds, strict=True) if kind in "PZ"}
    return (
        kinds[0] in "LN"
        and not text.endswith(" ")
        and set(kinds) <= set("LNMPZ")
        and others <= set(" -'\u2019")
        and "M" * (_MAX_MARKS + 1) not in kinds
    )


def checked_name(text: str, what: str) -> str:
    """`text`, where it can name a concept or a site.

    Args:
        text: The name.
        what: What it names, for the message ("concept").

    Raises:
        ConceptError: it is not a name.
    """
    if not is_name(text):
        raise ConceptError(f"{what} name {text[:80]!r}: a name is {NAME_RULE}")
    return text


def checked_class_word(text: str) -> str:
    """`text`, where it can name the class of a concept.

    Raises:
        ConceptError: it cannot.
    """
    if not is_class_word(text):
        raise ConceptError(
            f"class word {text[:80]!r}: a class word is {CLASS_WORD_RULE}"
        )
    return text
