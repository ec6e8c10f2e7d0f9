"""Options that several commands of `mos-client` share."""

from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Where keys, outbox and releases are; $MOS_SITE_HOME, or the user's data.",
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
