"""`mos-server demo`, `simulate`, `evaluate`: aliases of the commands of `mos-lab`."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import typer

from mos_runtime.console import console
from mos_server.errors import CentreError

PROGRAM = "mos-lab"
COMMANDS = ("demo", "simulate", "evaluate")


def add_aliases(app: typer.Typer) -> None:
    """Let an app hand the laboratory's commands on, as they were typed."""
    for name in COMMANDS:
        app.command(
            name,
            help=f"Alias of `{PROGRAM} {name}`.",
            add_help_option=False,
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(_alias(name))


def _alias(name: str) -> Callable[[typer.Context], NoReturn]:
    def run(context: typer.Context) -> NoReturn:
        next_to = shutil.which(PROGRAM, path=str(Path(sys.executable).parent))
        program = next_to or shutil.which(PROGRAM)
        if program is None:
            raise CentreError(
                f"`mos-server {name}` is now `{PROGRAM} {name}`; install "
                "mix-of-show-federated's laboratory"
            )
        console.print(f"`mos-server {name}` is now `{PROGRAM} {name}`", markup=False)
        os.execv(program, [program, name, *context.args])

    return run
