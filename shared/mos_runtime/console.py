"""What the command lines share: errors of one line, exit codes, `--debug`, progress.

A `MosError` is the user's to mend and ends in one line with exit code 2. Anything else
is an internal error; it too ends in one line, and `--debug` shows where it arose.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import click
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from typer.core import TyperGroup

from mos_runtime.errors import MosError, StorageError
from mos_runtime.nearest import way_out

USER_ERROR: Final = 2
INTERRUPTED: Final = 130
INTERNAL_ERROR: Final = 70

console: Final = Console(stderr=True, highlight=False, markup=False)
"""Progress and remarks; standard output is left to results. Text is shown as it is:
`[fe80::1]` or a word between brackets is no markup."""

ForceOption = Annotated[bool, typer.Option("--force", help="Replace existing files.")]
"""See `mos_runtime.outputs`, which every command that writes follows."""


def run(app: Callable[..., Any], arguments: list[str] | None = None) -> NoReturn:
    """Run a typer app as a program.

    Args:
        app: The app.
        arguments: Command line without the program's name; the process's by default.
            `--debug` anywhere in it is removed and shows tracebacks.
    """
    # Whatever the umask: what these programs write, nobody else may change.
    os.umask(os.umask(0o077) | 0o022)
    # OpenMP's threads spin while they wait; on busy cores that costs a hundredfold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        _check_folder()
        # typer returns the code of its own exits, as that of Ctrl-C.
        code = app(words, standalone_mode=False) or 0
    except (MosError, KeyboardInterrupt, click.ClickException, click.Abort) as error:
        if debug:
            traceback.print_exc()
        sys.exit(_report(error))
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            line = f"internal error: {type(error).__name__}: {error}"
            _say(f"{line} (--debug shows the traceback)")
        sys.exit(INTERNAL_ERROR)
    if code == INTERRUPTED:
        _say("stopped")
    sys.exit(code)


def _check_folder() -> None:
    try:
        Path.cwd()
    except OSError as error:
        raise StorageError(
            "the current folder was removed; change into another"
        ) from error


def new_app(help_text: str) -> typer.Typer:
    """A typer app that shows its help when called bare, and plain errors."""
    app = typer.Typer(
        cls=_Commands,
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    # Without a callback, an app of one command would take that command's place.
    app.callback()(_every_command)
    return app


def _every_command(
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Show the traceback of an error; works after a command too."
        ),
    ] = False,
) -> None:
    """What stands before every command; `run` has removed `--debug` before."""


class _Commands(TyperGroup):
    """Commands, of which the nearest is named where one is not known."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise click.UsageError(
                f"no command {name!r}; {way_out(name, self.list_commands(ctx))}", ctx
            )
        return super().resolve_command(ctx, args)


def progress() -> Progress:
    """A progress display with count, elapsed and remaining time, on stderr."""
    return Progress(
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        # A log file or a pipe gets the finished bars alone, not every frame.
        disable=False,
    )


def print_json(result: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output."""
    sys.stdout.write(json.dumps(result, sort_keys=True) + "\n")
    sys.stdout.flush()


def _report(error: BaseException) -> int:
    if isinstance(error, MosError):
        _say(str(error))
        return USER_ERROR
    if isinstance(error, click.ClickException):
        if error.format_message():  # a bare command has shown its help
            _say(_usage(error))
        return USER_ERROR
    _say("stopped")
    return INTERRUPTED


def _usage(error: click.ClickException) -> str:
    """What is wrong with a command line, and where its options are explained."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is None:
        return error.format_message()
    line = error.format_message().rstrip(".")
    if isinstance(error, click.NoSuchOption):
        known = [name for each in ctx.command.params for name in each.opts]
        line = f"no option {error.option_name}; {way_out(error.option_name, known)}"
    return f"{line} (`{ctx.command_path} --help` explains)"


def _say(line: str) -> None:
    console.print(Text("error: ", style="bold red"), Text(line), soft_wrap=True, sep="")
