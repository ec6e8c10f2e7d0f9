"""`mos-client tune --check`: what a run would see, and what keeps it from starting."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mos_client.tuning import TuneSettings
    from mos_client.tuning.latents import Variant
    from mos_client.tuning.preflight import ConceptTerms, Preflight
    from mos_model.base_outline import BaseOutline

_MOST_ROWS: Final = 12
"""Pictures, and notes of a kind, that are shown; JSON has them all."""


@dataclass(frozen=True)
class CheckedRun:
    """A run that was judged and not started."""

    flight: "Preflight"
    terms: "ConceptTerms"
    """With the class word that the run would have, as far as it is known."""

    settings: "TuneSettings"
    outline: "BaseOutline"

    @cached_property
    def rows(self) -> "Sequence[Sequence[Variant]]":
        """Of each picture, what the model would see."""
        from mos_client.tuning.latents import variants

        seen = variants(
            self.flight.folder.pictures,
            self.terms.concept.name,
            self.settings,
            side=self.outline.side,
            unit=self.outline.unit,
        )
        return [list(own) for _, own in groupby(seen, lambda each: each.picture.path)]

    @cached_property
    def pictures(self) -> Sequence[dict[str, Any]]:
        """One entry a picture, for JSON."""
        return [_entry(own[0]) for own in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints; `ready` says whether tuning would start."""
        folder, concept = self.flight.folder, self.terms.concept
        return {
            "ready": not self.flight.errors,
            "concept": concept.name,
            "concept_from": concept.source,
            "class_word": self.terms.class_word,
            "pictures": list(self.pictures),
            "errors": [note.to_dict() for note in self.flight.errors],
            "left_out": [note.to_dict() for note in folder.refused],
            "remarks": [note.to_dict() for note in folder.remarks],
            "settings": self.settings.to_dict(),
        }

    def draw(self, path: Path) -> bool:
        """Write the contact sheet as PNG, if there is any picture.

        Raises:
            StorageError: it cannot be written.
        """
        from mos_client.pictures.contact import Cell, sheet
        from mos_runtime.files import write_atomically

        if not self.rows:
            return False
        cells = [
            [
                Cell(
                    variant.image,
                    variant.mask,
                    f"{variant.picture.path.name} {variant.image.width}x"
                    f"{variant.image.height}",
                    variant.captions[0],
                )
                for variant in row
            ]
            for row in self.rows
        ]
        content = io.BytesIO()
        sheet(cells).save(content, "PNG")
        write_atomically(path, content.getvalue())
        return True

    def show(self, console: "Console", sheet: Path | None) -> None:
        """Print it on one screen: the verdict last, where the eye is."""
        folder, errors = self.flight.folder, self.flight.errors
        console.print(self.terms.concept.leaving(), markup=False)
        if self.pictures:
            console.print(_table(self.pictures[:_MOST_ROWS]))
        _more(console, len(self.pictures))
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
        console.print(self.verdict(), markup=False)

    def verdict(self) -> str:
        """Whether tuning would start, in one line."""
        errors, folder = self.flight.errors, self.flight.folder
        if errors:
            one = len(errors) == 1
            return f"not ready: {len(errors)} {'file' if one else 'files'} to mend"
        word = self.terms.class_word
        return (
            f"ready: {len(self.pictures)} pictures used, {len(folder.refused)} files "
            f"left out; class word {word}, {self.settings.steps} steps"
        )


def _entry(first: "Variant") -> dict[str, Any]:
    image, picture = first.picture.image, first.picture
    bucket = first.image.size
    return {
        "file": picture.path.name,
        "size": list(image.size),
        "bucket": list(bucket),
        "enlarged": bucket[0] > image.width or bucket[1] > image.height,
        "mask": first.mask is not None,
        "captions": list(first.captions),
        "caption_file": picture.caption_file,
    }


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
