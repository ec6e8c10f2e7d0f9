"""Mistyped command lines end in one line; what is printed is no markup."""

from pathlib import Path

import pytest
import typer

from mos_runtime.console import console, new_app, progress
from tests.support.typing_in import type_in


@pytest.fixture
def app() -> typer.Typer:
    app = new_app("A program.")

    @app.command()
    def sample(out: str = "a") -> None:
        raise RuntimeError(f"broken {out}")

    @app.command()
    def tune() -> None:
        raise KeyboardInterrupt

    @app.command()
    def check() -> None:
        raise typer.Exit(3)

    return app


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("smaple",), "no command 'smaple'; did you mean sample?"),
        (("zzz",), "no command 'zzz'; known: check, sample, tune"),
        (("sample", "--uot", "x"), "no option --uot; did you mean --out?"),
        (("sample", "more"), "unexpected extra argument"),
    ],
)
def test_mistyped_line_ends_in_one_line_that_points_to_help(
    app: typer.Typer,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    reason: str,
) -> None:
    assert type_in(app, *words) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("error:") == 1
    assert reason in told
    assert told.count("did you mean") == reason.count("did you mean")
    assert "--help` explains" in told


def test_help_names_the_debug_option(
    app: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_in(app, "--help") == 0
    assert "--debug" in capsys.readouterr().out


def test_internal_error_is_one_line_and_debug_shows_its_traceback(
    app: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_in(app, "sample") == 70
    told = capsys.readouterr().err
    assert "internal error: RuntimeError: broken a" in told
    assert "Traceback" not in told
    assert type_in(app, "sample", "--debug") == 70
    assert "Traceback" in capsys.readouterr().err


def test_interrupted_command_exits_as_one(
    app: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_in(app, "tune") == 130
    assert "stopped" in capsys.readouterr().err
    assert type_in(app, "check") == 3


@pytest.mark.parametrize("text", ["[/nope]", "[bold]cat", "centre at [fe80::1]:9092"])
def test_brackets_are_shown_as_they_are(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console.print(text)
    with progress() as shown:
        shown.add_task(text, total=1, note=text)
    told = capsys.readouterr().err
    assert told.count(text) >= 2


def test_removed_working_folder_is_named(
    app: typer.Typer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert type_in(app, "sample") == 2
    assert "the current folder was removed" in capsys.readouterr().err
