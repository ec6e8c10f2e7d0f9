"""Options that several commands of `mos-server` share."""

from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Where keys and registry are; $MOS_CENTRE_HOME, or the user's data.",
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

DeviceOption = Annotated[
    str, typer.Option("--device", help="`auto`, `cpu`, `cuda`, `cuda:1` or `mps`.")
]
