"""Text files as people's editors write them.

UTF-8 is read with and without a byte order mark, UTF-16 and UTF-32 with one (Notepad
writes both). Anything else is refused with the way to convert it, never guessed.
"""

import codecs
import re
import tomllib
from pathlib import Path
from typing import Any, Final

MAX_TEXT_BYTES: Final = 2**20

MAX_TOML_LEVELS: Final = 16
"""Keys that may be joined by dots; nobody's file here has more than three."""

_DOTTED: Final = re.compile(
    r"""(?<![\w-])
    (?: (?> [\w-]+ | "(?:[^"\\\n]|\\.)*" | '[^'\n]*' ) [ \t]* \. [ \t]* )"""
    rf"{{{MAX_TOML_LEVELS}}}",
    re.VERBOSE | re.ASCII,
)

_MARKS: Final = (
    # UTF-32's mark begins with UTF-16's.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path) -> str:
    """A text file's content, without its byte order mark.

    Raises:
        ValueError: too large, or in no encoding that is read; with the way out.
        OSError: not readable.
    """
    with path.open("rb") as file:
        content = file.read(MAX_TEXT_BYTES + 1)
    if len(content) > MAX_TEXT_BYTES:
        raise ValueError(f"larger than {MAX_TEXT_BYTES // 2**20} MiB")
    return decode_text(content)


def decode_text(content: bytes) -> str:
    """See `read_text`."""
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    try:
        text = content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        known = encoding or "UTF-8"
        raise ValueError(
            f"not {known.upper().removesuffix('-SIG')} text; save it as UTF-8, or "
            "convert it with `iconv -f WINDOWS-1252 -t UTF-8`"
        ) from error
    if "\0" in text:
        raise ValueError(
            "not text, or UTF-16 without a byte order mark; save it as UTF-8"
        )
    return text


def parse_toml(text: str) -> dict[str, Any]:
    """A TOML text's table, as `tomllib` reads it.

    Its time and memory grow with the square of the keys that are joined by dots: 200 KB
    of them fill a machine. So a text with more than `MAX_TOML_LEVELS` in a row is
    refused unread.

    Raises:
        ValueError: not TOML, or nested too deeply.
    """
    if _DOTTED.search(text):
        raise ValueError(f"more than {MAX_TOML_LEVELS} names joined by dots")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
