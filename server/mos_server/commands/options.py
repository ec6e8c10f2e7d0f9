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


def site_and_concept(name: str) -> tuple[str, str]:
    """Both parts of SITE/CONCEPT.

    Raises:
        RegistryError: it is written otherwise.
    """
    from mos_server.errors import RegistryError

    site, slash, concept = name.partition("/")
    if not slash:
        raise RegistryError(f"{name}: write it as SITE/CONCEPT")
    return site, concept
