"""The guide's commands are ones that our programs take, as they stand there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mos_client.cli import app as client_app
from mos_server.cli import app as server_app

GUIDE = Path(__file__).parents[2] / "deploy" / "docs" / "guide.md"
PROGRAMS = {"mos-server": server_app, "mos-client": client_app}
_BLOCK = re.compile(r"^    (mos-(?:server|client) (?:[^\\\n]|\\\n)*)", re.M)
_INLINE = re.compile(r"`(mos-(?:server|client) [^`]+)`")


def commands() -> Iterator[list[str]]:
    """Every command line of the guide, as words."""
    text = GUIDE.read_text()
    for line in (*_BLOCK.findall(text), *_INLINE.findall(text)):
        yield shlex.split(line.replace("\\\n", " "))


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_command_of_the_guide_is_taken(words: list[str]) -> None:
    group: Any = typer.main.get_command(PROGRAMS[words[0]])
    command = group.commands[words[1]]
    # A command that is only named stands for itself, whatever it needs.
    if len(words) > 2:
        with command.make_context(words[1], words[2:]):
            pass


def test_guide_has_commands_of_both_programs() -> None:
    found = [words[:2] for words in commands()]
    assert {"mos-server", "mos-client"} == {program for program, _ in found}
    assert len(found) > 20
