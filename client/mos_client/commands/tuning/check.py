"""`mos-client tune --check`: what a run would see, and with which settings."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mos_runtime.console import console

if TYPE_CHECKING:
    from mos_client.pictures import Folder
    from mos_client.tuning import TuneSettings
    from mos_client.tuning.latents import Variant
    from mos_model.base import Base


def check_run(
    folder: "Folder",
    base: "Base",
    *,
    name: str,
    class_word: str,
    settings: "TuneSettings",
    path: Path,
) -> dict[str, Any]:
    """Print a table of the pictures and write the contact sheet; nothing is tuned.

    Args:
        folder: The pictures.
        base: The base they would be tuned on.
        name: The concept's name.
        class_word: Given or inferred.
        settings: Of the run.
        path: Where the sheet goes, a PNG file.

    Returns:
        What was printed, for `--json`.

    Raises:
        StorageError: the sheet cannot be written.
    """
    from mos_client.tuning.latents import variants, working_side, working_unit

    side, unit = working_side(base), working_unit(base)
    seen = list(variants(folder.pictures, f"<{name}>", settings, side=side, unit=unit))
    count = settings.augmentations
    rows = [seen[first : first + count] for first in range(0, len(seen), count)]
    _write_sheet(rows, path)
    pictures = [_told(row[0]) for row in rows]
    _show(pictures)
    console.print(f"concept <{name}>, class word {class_word}", markup=False)
    told = settings.to_dict()
    line = ", ".join(f"{key} {value}" for key, value in told.items())
    console.print(f"settings: {line}", markup=False)
    console.print(f"{path}: {count} variants of each, as the model will see them")
    return {
        "concept": name,
        "class_word": class_word,
        "pictures": pictures,
        "left_out": list(folder.refused),
        "remarks": list(folder.remarks),
        "settings": told,
        "sheet": str(path),
    }


def _told(first: "Variant") -> dict[str, Any]:
    image = first.picture.image
    bucket = first.image.size
    return {
        "file": first.picture.path.name,
        "size": list(image.size),
        "bucket": list(bucket),
        "enlarged": bucket[0] > image.width or bucket[1] > image.height,
        "mask": first.mask is not None,
        "captions": list(first.captions),
    }


def _write_sheet(rows: "Sequence[Sequence[Variant]]", path: Path) -> None:
    from mos_client.pictures.contact import Cell, sheet
    from mos_runtime.files import write_atomically

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
        for row in rows
    ]
    content = io.BytesIO()
    sheet(cells).save(content, "PNG")
    write_atomically(path, content.getvalue())


def _show(pictures: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("picture", "size", "bucket", "mask", "captions"):
        table.add_column(heading)
    for each in pictures:
        bucket = "{}x{}".format(*each["bucket"])
        cells = (
            *(each["file"], "{}x{}".format(*each["size"])),
            f"{bucket}, enlarged" if each["enlarged"] else bucket,
            "yes" if each["mask"] else "no",
            " | ".join(each["captions"]),
        )
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
