"""The threat model names a test for every attack, and all tests that it names exist."""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MODEL = TESTS.parent / "deploy" / "docs" / "threat-model.md"
INDEX = TESTS / "threats" / "README.md"
NAMED = re.compile(r"`((?:[\w/]*?test_\w+\.py)?(?:::[\w.]+)?|\.\.\._\w+)`")
"""`folder/test_file.py`, `test_file.py::test_name`, `::test_name` or `..._name`: dots
stand for what is left out. A name alone is in the file named last in its row; before
any, in the file of bundles or that of releases."""

BOTH = [TESTS / "threats" / name for name in ("test_bundles.py", "test_releases.py")]


def table(path: Path, header: str) -> list[list[str]]:
    """The cells of a table's rows, of the table whose header begins so."""
    lines = path.read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(header))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def names_in(path: Path) -> set[str]:
    """The names of a module's test functions."""
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def files_named(name: str) -> list[Path]:
    """Where a file that is named lies: below `tests`, or among these."""
    places = (TESTS.parent / name, TESTS / name, TESTS / "threats" / name)
    elsewhere = [place / name for place in TESTS.iterdir() if place.is_dir()]
    return [path for path in dict.fromkeys((*places, *elsewhere)) if path.is_file()]


def missing(text: str) -> list[str]:
    """What a text names, and is not there."""
    lost, files = list[str](), BOTH
    for named in filter(None, NAMED.findall(text)):
        file, _, test = named.partition("::")
        if named.startswith("..._"):
            file, test = "", named
        files = files_named(file) if file else files
        names = set[str]().union(*map(names_in, files))
        pattern = test.replace("...", "*")
        if not files or (test and not any(fnmatch(one, pattern) for one in names)):
            lost.append(named)
    return lost


ATTACKS = table(MODEL, "| attack |")
PORTS = table(MODEL, "| port |")
THREATS = [*table(INDEX, "| threat |"), *table(INDEX, "| fault |")]


@pytest.mark.parametrize("row", ATTACKS, ids=[row[0][:40] for row in ATTACKS])
def test_every_attack_names_tests_that_exist(row: list[str]) -> None:
    assert len(row) == 3, "attack, answer, test"
    assert NAMED.search(row[2]), row[2]
    assert missing(row[2]) == []


@pytest.mark.parametrize("row", [*PORTS, *THREATS], ids=lambda row: row[0][:40])
def test_every_test_named_in_the_other_tables_exists(row: list[str]) -> None:
    assert missing(" ".join(row)) == []


def test_name_of_a_test_that_is_not_there_is_found() -> None:
    """The check itself can fail."""
    here = f"`deploy/{Path(__file__).name}`"
    assert missing(here) == []
    assert missing("`threats/test_nothing.py`") == ["threats/test_nothing.py"]
    gone = f"{here[:-1]}::test_gone`"
    assert missing(gone) == [gone.strip("`")]
    assert missing("`::test_gone`") == ["::test_gone"]
    assert missing("`test_bundles.py::test_replay`, `..._gone`") == ["..._gone"]


def test_every_file_of_threats_is_named() -> None:
    text = MODEL.read_text() + INDEX.read_text()
    for path in (TESTS / "threats").glob("test_*.py"):
        assert path.name in text, path.name
