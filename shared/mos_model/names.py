"""Names of concepts and sites: what may stand between angle brackets.

A prompt says `<rex>`, or `<site/rex>` where two sites both hold a rex. Names become
file names and keys, so they are short and plain.
"""

import re
from typing import Final

from mos_model.errors import ConceptError

NAME_RULE: Final = (
    "1 to 64 letters a-z, digits, '-' or '_', beginning with a letter or digit"
)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def is_name(text: str) -> bool:
    """Whether `text` can name a concept or a site."""
    return _NAME.fullmatch(text) is not None


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
