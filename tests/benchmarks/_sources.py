"""The repository's own Python sources, measured."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PRODUCT: Final = ("client", "server", "protocol", "shared", "deploy/lab")
_GENERATED: Final = ("_pb2.py",)
_SKIPPED: Final = {".venv", "build", "dist", "node_modules", "__pycache__"}


@dataclass(frozen=True)
class Function:
    """A function's size."""

    name: str
    lines: int
    """From `def` to the end; of a command, its body without signature and help."""
    parameters: int
    """Without `self` and `cls`."""
    is_command: bool
    """Whether a parameter is a command line's option or argument."""


def product_modules(root: Path = ROOT) -> list[Path]:
    """Modules of all packages, without generated ones."""
    return [path for folder in PRODUCT for path in _modules(root / folder)]


def python_modules(root: Path = ROOT) -> list[Path]:
    """The same with tests and benchmarks."""
    return [*product_modules(root), *_modules(root / "tests")]


def _modules(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        if not path.name.endswith(_GENERATED) and not _SKIPPED & set(parts):
            yield path


def functions_of(path: Path) -> list[Function]:
    """Every function and method of a module, nested ones too."""
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [_measured(node) for node in ast.walk(tree) if isinstance(node, kinds)]


def _measured(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    own = [one for one in every if one.arg not in ("self", "cls")]
    is_command = any(
        one.annotation is not None and _is_option(one.annotation) for one in own
    )
    end = node.end_lineno or node.lineno
    first = node.lineno
    if is_command:
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        first = body[0].lineno if body else end
    return Function(node.name, end - first + 1, len(own), is_command)


def _is_option(annotation: ast.expr) -> bool:
    text = ast.unparse(annotation)
    return "typer.Option(" in text or "typer.Argument(" in text
