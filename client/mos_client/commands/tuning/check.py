"""How `mos-client tune --check` shows what a run would see."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mos_client.tuning.checks.checked_run import CheckedRun

_MOST_ROWS: Final = 12
"""Pictures, and notes of a kind, that are shown; JSON has them all."""


def show_check(console: "Console", run: "CheckedRun", sheet: Path | None) -> None:
    """Print it on one screen: the verdict last, where the eye is."""
    folder, errors = run.flight.folder, run.flight.errors
    console.print(run.terms.concept.leaving(), markup=False)
    if run.pictures:
        console.print(_table(run.pictures[:_MOST_ROWS]))
    _more(console, len(run.pictures))
    for heading, notes in (
        ("left out", folder.refused),
        ("note", folder.remarks),
        ("to mend", errors),
    ):
        for note in notes[:_MOST_ROWS]:
            console.print(f"{heading}: {note}", markup=False)
        _more(console, len(notes))
    if sheet is not None:
        console.print(f"{sheet}: the pictures as the model sees them", markup=False)
    console.print(run.verdict(), markup=False)


def _table(pictures: Sequence[dict[str, Any]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, expand=True)
    for heading in ("picture", "size", "model sees", "mask"):
        table.add_column(heading, no_wrap=True)
    table.add_column("caption", no_wrap=True, overflow="ellipsis", ratio=1)
    for each in pictures:
        bucket = "{}x{}".format(*each["bucket"])
        captions = each["captions"]
        others = f" (+{len(captions) - 1})" if len(captions) > 1 else ""
        cells = (
            *(each["file"], "{}x{}".format(*each["size"])),
            f"{bucket}, enlarged" if each["enlarged"] else bucket,
            "yes" if each["mask"] else "no",
            captions[0] + others,
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _more(console: "Console", count: int) -> None:
    if count > _MOST_ROWS:
        console.print(f"... and {count - _MOST_ROWS} more; --json lists all")
