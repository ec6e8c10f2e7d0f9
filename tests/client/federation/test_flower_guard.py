"""A site runs no app but the code-less one that it knows."""

import io
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk

from mos_client.federation.guard import ForeignAppError, check_app

# Flower's own builder uses a name that pathspec has given up.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatch:DeprecationWarning")

OURS = Path(str(files("mos_server.serving") / "flower-app"))


def built(folder: Path, **extra: str) -> bytes:
    """Our app with other files, or another description, built by Flower."""
    folder.mkdir(parents=True)
    names = {"pyproject.toml": (OURS / "pyproject.toml").read_text(), **extra}
    for name, text in names.items():
        (folder / name).write_text(text)
    content = build_fab_from_disk(folder)
    assert isinstance(content, bytes)
    return content


def description(old: str = "", new: str = "") -> dict[str, str]:
    text = (OURS / "pyproject.toml").read_text()
    assert old in text
    return {"pyproject.toml": text.replace(old, new)}


def test_our_own_app_is_taken() -> None:
    check_app(build_fab_from_disk(OURS))


def test_app_that_holds_code_is_refused(tmp_path: Path) -> None:
    content = built(tmp_path / "app", **{"mos_extra.py": "print('hello')\n"})
    with pytest.raises(ForeignAppError, match=r"mos_extra\.py"):
        check_app(content)


def test_app_that_names_another_client_component_is_refused(tmp_path: Path) -> None:
    named = description("mos_client.federation.app:app", "os.path:app")
    with pytest.raises(ForeignAppError, match=r"os\.path"):
        check_app(built(tmp_path / "app", **named))


def test_app_with_a_further_component_is_refused(tmp_path: Path) -> None:
    more = 'clientapp = "mos_client.federation.app:app"\nagentapp = "os.path:app"'
    named = description('clientapp = "mos_client.federation.app:app"', more)
    content = (OURS / "pyproject.toml").read_text()
    packed = packed_app({**named})
    assert content not in named["pyproject.toml"]
    with pytest.raises(ForeignAppError, match="agentapp"):
        check_app(packed)


def packed_app(texts: dict[str, str]) -> bytes:
    """An app as somebody else's tool might pack it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["../pyproject.toml", "/etc/cron.d/x", "a.pth"])
def test_app_with_a_file_anywhere_else_is_refused(name: str) -> None:
    texts = {**description(), name: "x"}
    with pytest.raises(ForeignAppError, match="holds files"):
        check_app(packed_app(texts))


def test_app_whose_description_unpacks_to_gigabytes_is_refused() -> None:
    texts = {"pyproject.toml": "#" * 2**24}
    with pytest.raises(ForeignAppError, match="oversized"):
        check_app(packed_app(texts))


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 2**17])
def test_bytes_that_are_no_app_are_refused(content: bytes) -> None:
    with pytest.raises(ForeignAppError):
        check_app(content)
