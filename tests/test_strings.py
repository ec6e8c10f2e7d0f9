"""Packages meet by import: none names another's modules in a string.

The layers of imports are checked by import-linter, which cannot see strings.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UPPER = {"mos_client", "mos_server", "mos_lab", "mos_zoo"}
PACKAGES = {
    "mos_client": "client",
    "mos_server": "server",
    "mos_protocol": "protocol",
    "mos_model": "shared",
    "mos_pages": "shared",
    "mos_runtime": "shared",
    "mos_zoo": "deploy/lab",
}
ALLOWED = {
    # What the wire carries, and its description.
    "protocol/mos_protocol/flower_app.py",
    "server/mos_server/serving/flower-app/pyproject.toml",
}


def strings_of(path: Path) -> list[str]:
    """Every string of a module that is no docstring."""
    if path.suffix != ".py":
        return [path.read_text("utf-8")]
    tree = ast.parse(path.read_text("utf-8"))
    bare = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)
    }  # docstrings, also those under fields
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in bare
    ]


def named_by(package: str) -> set[tuple[str, str]]:
    folder = ROOT / PACKAGES[package] / package
    found = set()
    for path in [*folder.rglob("*.py"), *folder.rglob("*.toml")]:
        for text in strings_of(path):
            names = {one for one in UPPER - {package} if one in text}
            found |= {(str(path.relative_to(ROOT)), one) for one in names}
    return found


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_no_package_names_another_in_a_string(package: str) -> None:
    assert {one for one in named_by(package) if one[0] not in ALLOWED} == set()


def test_the_exceptions_are_still_needed() -> None:
    found = {path for package in PACKAGES for path, _ in named_by(package)}
    assert found >= ALLOWED
