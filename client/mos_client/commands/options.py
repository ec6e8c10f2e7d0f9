"""Options that several commands of `mos-client` share."""

from pathlib import Path
from typing import Annotated

import typer

from mos_model.errors import LayoutError

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Where keys, outbox and releases are; $MOS_SITE_HOME, or the user's data.",
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def parsed_size(text: str) -> tuple[int, int]:
    """Width and height from `WxH`.

    Raises:
        LayoutError: not of that form.
    """
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height)
    except ValueError as error:
        raise LayoutError(f"--size {text}: write it as 512x384") from error
