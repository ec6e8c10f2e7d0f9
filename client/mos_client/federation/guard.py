"""Which Flower app a site runs: only the one it has installed itself.

A Flower app may carry any code, and a SuperNode would run it. So the centre could run
whatever it likes at every site. A site therefore takes an app only if it holds
no file but its description, and that description names our own components and nothing
else. Flower makes a folder's path of the app's name, publisher and version, so these
are ours too.
"""

import io
import re
import zipfile
import zlib
from typing import Any, Final

from mos_client.errors import SiteError
from mos_protocol.flower_app import APP_NAME, CLIENT_APP, SERVER_APP
from mos_runtime.texts import parse_toml

_ALLOWED_FILES: Final = frozenset({"pyproject.toml", ".info/CONTENT"})
_COMPONENTS: Final = {"serverapp": SERVER_APP, "clientapp": CLIENT_APP}
_MAX_APP_BYTES: Final = 64 * 2**10
_MAX_FILE_BYTES: Final = 4 * 2**10
"""Ours has 0.7 KB."""

_VERSION: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}")
_UNREADABLE: Final = (
    *(zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, OSError),
    # An encrypted archive, one packed in a way that Python does not know, endless
    # brackets, and an archive that is cut short.
    *(RuntimeError, NotImplementedError, RecursionError, EOFError),
)


class ForeignAppError(SiteError):
    """The centre sent an app that is not this project's."""


def check_app(content: bytes) -> None:
    """Refuse any Flower app (FAB) but the code-less one of this project.

    Args:
        content: The app's zip archive as the centre sent it.

    Raises:
        ForeignAppError: it holds code, names another component, or is no app at all.
    """
    if len(content) > _MAX_APP_BYTES:
        raise ForeignAppError(
            f"the centre's app has {len(content)} bytes; one without code has less "
            f"than {_MAX_APP_BYTES}"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [entry.filename for entry in archive.infolist()]
            sizes = [entry.file_size for entry in archive.infolist()]
            foreign = sorted(set(names) - _ALLOWED_FILES)[:3]
            if foreign or len(names) != len(set(names)):
                held = ", ".join(map(_shown, foreign))
                raise ForeignAppError(
                    f"the centre's app holds files ({held}); an app of this project "
                    "holds none"
                )
            if max(sizes, default=0) > _MAX_FILE_BYTES:
                raise ForeignAppError("the centre's app has an oversized description")
            description = parse_toml(archive.read("pyproject.toml").decode())
        components = description["tool"]["flwr"]["app"]["components"]
        _check_identity(description)
    except _UNREADABLE as error:
        raise ForeignAppError(
            f"the centre's app is not readable: {type(error).__name__}"
        ) from error
    if components != _COMPONENTS:
        raise ForeignAppError(
            f"the centre's app names {components!s:.200}; this project's names "
            f"{_COMPONENTS}"
        )


def _check_identity(description: dict[str, Any]) -> None:
    project, app = description["project"], description["tool"]["flwr"]["app"]
    if project["name"] != APP_NAME or app["publisher"] != APP_NAME:
        raise ForeignAppError(
            f"the centre's app calls itself {app['publisher']!r:.40}/"
            f"{project['name']!r:.40}, not {APP_NAME}/{APP_NAME}"
        )
    if not _VERSION.fullmatch(project["version"]) or project["dependencies"]:
        raise ForeignAppError(
            "the centre's app has no plain version, or wants something installed"
        )


def _shown(name: str) -> str:
    return name[:80] if name.isprintable() else repr(name[:80])
