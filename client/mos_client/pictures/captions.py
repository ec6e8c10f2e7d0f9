"""Captions as captioners and trainers write them.

a.txt, a.jpg.txt, a.caption   the text itself (kohya, OneTrainer, taggers)
a.json                        an object with "caption" or "text"
metadata.jsonl, metadata.csv  of the whole folder: file_name, and text or caption
(Hugging Face's imagefolder)
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from mos_client.pictures.notes import plain
from mos_model.errors import DataError
from mos_runtime.texts import read_text

SUFFIXES: Final = (".txt", ".caption", ".json")
"""Of one picture's caption, the first that is there counts."""

TABLES: Final = ("metadata.jsonl", "metadata.csv")
"""Captions of the whole folder; a picture's own caption counts before them."""

_KEYS: Final = ("caption", "text")
_FILE_KEY: Final = "file_name"


def read_caption(path: Path) -> str:
    """One picture's caption as one line; empty where the file is.

    Raises:
        DataError: not readable; without the file's name.
    """
    text = _text(path)
    if path.suffix.lower() != ".json":
        return plain(text)
    found = _json(text)
    caption = _caption(found) if isinstance(found, Mapping) else None
    if caption is None:
        raise DataError('no "caption" or "text" in it; put the caption into a .txt')
    return plain(caption)


def read_table(path: Path) -> dict[str, str]:
    """File name -> caption, of a folder's `metadata.jsonl` or `metadata.csv`.

    Raises:
        DataError: not readable; without the table's name.
    """
    text = _text(path)
    rows = _csv_rows(text) if path.suffix.lower() == ".csv" else _json_rows(text)
    captions: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        name = row.get(_FILE_KEY) if isinstance(row, Mapping) else None
        caption = _caption(row) if isinstance(row, Mapping) else None
        if not isinstance(name, str) or caption is None:
            raise DataError(
                f'entry {number} lacks "{_FILE_KEY}", or "caption" or "text"'
            )
        captions[name] = plain(caption)
    return captions


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"not readable ({reason})") from error


def _caption(row: Mapping[str, Any]) -> str | None:
    return next((row[key] for key in _KEYS if isinstance(row.get(key), str)), None)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not readable JSON ({error})") from error


def _json_rows(text: str) -> Iterable[Any]:
    return (_json(line) for line in text.splitlines() if line.strip())


def _csv_rows(text: str) -> Iterable[Any]:
    try:
        yield from csv.DictReader(io.StringIO(text, newline=""))
    except csv.Error as error:
        raise DataError(f"not readable CSV ({error})") from error
