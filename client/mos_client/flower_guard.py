"""Which Flower app a site runs: only the one it has installed itself.

A Flower app may carry any code, and a SuperNode would run it. So the centre could run
whatever it likes at every site. A site of ours therefore takes an app only if it holds
no file but its description, and that description names our own components and nothing
else.
"""

import io
import tomllib
import zipfile
from typing import Final

from mos_client.errors import SiteError
from mos_protocol.flower_env import CLIENT_APP, SERVER_APP

_ALLOWED_FILES: Final = frozenset({"pyproject.toml", ".info/CONTENT"})
_COMPONENTS: Final = {"serverapp": SERVER_APP, "clientapp": CLIENT_APP}
_MAX_APP_BYTES: Final = 64 * 2**10
_MAX_FILE_BYTES: Final = 64 * 2**10


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
            foreign = sorted(set(names) - _ALLOWED_FILES)
            if foreign or len(names) != len(set(names)):
                raise ForeignAppError(
                    f"the centre's app holds files ({', '.join(foreign[:3])}); an app "
                    "of this project holds none"
                )
            if max(sizes, default=0) > _MAX_FILE_BYTES:
                raise ForeignAppError("the centre's app has an oversized description")
            description = tomllib.loads(archive.read("pyproject.toml").decode())
        components = description["tool"]["flwr"]["app"]["components"]
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
        raise ForeignAppError(f"the centre's app is not readable: {error}") from error
    if components != _COMPONENTS:
        raise ForeignAppError(
            f"the centre's app names {components}; this project's names {_COMPONENTS}"
        )
