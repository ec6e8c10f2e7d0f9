"""What a run would see, and what keeps it from starting: `mos-client tune --check`."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from mos_client.pictures.contact import Cell, sheet
from mos_client.tuning.checks.preflight import ConceptTerms, Preflight
from mos_client.tuning.data.latents import Variant, variants
from mos_client.tuning.settings import TuneSettings
from mos_model.bases.base_outline import BaseOutline
from mos_runtime.files import write_atomically


@dataclass(frozen=True)
class CheckedRun:
    """A run that was judged and not started."""

    flight: Preflight
    terms: ConceptTerms
    """With the class word that the run would have, as far as it is known."""

    settings: TuneSettings
    outline: BaseOutline

    @cached_property
    def rows(self) -> Sequence[Sequence[Variant]]:
        """Of each picture, what the model would see."""
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

    def verdict(self) -> str:
        """Whether tuning would start, in one line."""
        errors, folder = self.flight.errors, self.flight.folder
        if errors:
            one = len(errors) == 1
            return f"not ready: {len(errors)} {'file' if one else 'files'} to mend"
        word = self.terms.class_word
        found = (
            "the base finds the class word" if word is None else f"class word {word}"
        )
        return (
            f"ready: {len(self.pictures)} pictures used, {len(folder.refused)} files "
            f"left out; {found}, {self.settings.steps} steps"
        )


def _entry(first: Variant) -> dict[str, Any]:
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
