"""Limits on folders, files and functions, so that each can be read at once."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks._sources import (
    Function,
    functions_of,
    product_modules,
    python_modules,
)

MODULES_IN_A_FOLDER = 15
LINES_OF_A_FILE = 500
LINES_OF_A_FUNCTION = 60
PARAMETERS = 8


def functions() -> Iterator[tuple[Path, Function]]:
    for path in product_modules():
        for function in functions_of(path):
            yield path, function


def test_every_package_is_measured() -> None:
    measured = {path.parent.name for path in product_modules()}
    assert measured >= {
        *("mos_client", "mos_server", "mos_protocol", "mos_lab", "mos_zoo"),
        *("mos_model", "mos_pages", "mos_runtime"),
    }


def test_no_folder_has_more_than_fifteen_modules() -> None:
    counts = Counter(path.parent for path in python_modules())
    assert {str(f): n for f, n in counts.items() if n > MODULES_IN_A_FOLDER} == {}


def test_no_file_has_more_than_five_hundred_lines() -> None:
    long = {
        str(path): lines
        for path in python_modules()
        if (lines := len(path.read_text("utf-8").splitlines())) > LINES_OF_A_FILE
    }
    assert long == {}


def test_no_function_has_more_than_sixty_lines() -> None:
    long = [
        f"{path}: {one.name}, {one.lines} lines"
        for path, one in functions()
        if one.lines > LINES_OF_A_FUNCTION
    ]
    assert long == []


def test_no_function_but_a_command_has_more_than_eight_parameters() -> None:
    many = [
        f"{path}: {one.name}, {one.parameters} parameters"
        for path, one in functions()
        if one.parameters > PARAMETERS and not one.is_command
    ]
    assert many == []


def test_a_commands_signature_is_not_counted_but_its_body_is(tmp_path: Path) -> None:
    options = "\n".join(
        f"    a{number}: Annotated[int, typer.Option()] = 0," for number in range(70)
    )
    body = "\n".join(f"    b{number} = {number}" for number in range(61))
    path = tmp_path / "commands.py"
    path.write_text(f"def command(\n{options}\n) -> None:\n{body}\n")
    (command,) = functions_of(path)
    assert command == Function("command", lines=61, parameters=70, is_command=True)
    path.write_text(path.read_text().replace("Annotated[int, typer.Option()]", "int"))
    (function,) = functions_of(path)
    assert not function.is_command
    assert function.lines == 61 + 72
