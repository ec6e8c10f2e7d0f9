"""How the two command lines talk: one line for an error, exit code 2, `--debug`.

A `MosError` is the user's to mend and ends in one line. Anything else is an internal
error; it too ends in one line, and `--debug` shows where.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

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

from mos_runtime.errors import MosError

USER_ERROR: Final = 2
INTERRUPTED: Final = 130
OUR_BUG: Final = 70

console: Final = Console(stderr=True, highlight=False)
"""Progress and remarks; standard output is left to results."""


def run(app: Callable[..., Any], arguments: list[str] | None = None) -> NoReturn:
    """Run a typer app as a program.

    Args:
        app: The app.
        arguments: Command line without the program's name; the process's by default.
            `--debug` anywhere in it is taken out and shows tracebacks.
    """
    # Whatever the umask: what these programs write, nobody else may change.
    os.umask(os.umask(0o077) | 0o022)
    # OpenMP's threads spin while they wait; on busy cores that costs a hundredfold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        app(words, standalone_mode=False)
    except (MosError, KeyboardInterrupt, click.ClickException, click.Abort) as error:
        if debug:
            traceback.print_exc()
        sys.exit(_told(error))
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            _say(f"internal error: {type(error).__name__}: {error} (--debug shows it)")
        sys.exit(OUR_BUG)
    sys.exit(0)


def new_app(help_text: str) -> typer.Typer:
    """A typer app that shows its help when called bare, and plain errors."""
    app = typer.Typer(
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    # Without a callback, an app of one command would take that command's place.
    app.callback()(lambda: None)
    return app


def progress() -> Progress:
    """A progress display with count, elapsed and remaining time, on stderr."""
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        # A log file or a pipe gets the finished bars alone, not every frame.
        disable=False,
    )


def print_json(result: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output."""
    sys.stdout.write(json.dumps(result, sort_keys=True) + "\n")
    sys.stdout.flush()


def _told(error: BaseException) -> int:
    if isinstance(error, MosError):
        _say(str(error))
        return USER_ERROR
    if isinstance(error, click.ClickException):
        _say(error.format_message())
        return USER_ERROR
    _say("stopped")
    return INTERRUPTED


def _say(line: str) -> None:
    console.print(Text("error: ", style="bold red"), Text(line), soft_wrap=True, sep="")
