"""The studio's server: one process, loopback unless `host` says otherwise."""

import socket
from collections.abc import Callable

import uvicorn

from mos_client.errors import SiteError
from mos_client.studio.app import studio_app
from mos_client.studio.guard import Keys
from mos_client.studio.studio import Studio
from mos_runtime.locking import HeldError, locked


def serve(
    studio: Studio,
    *,
    host: str,
    port: int,
    password: str | None,
    ready: Callable[[str], None],
) -> None:
    """Serve until Ctrl-C.

    Args:
        studio: What is served.
        host: Address to listen on.
        port: TCP port; 0 is any free one.
        password: Needed where `host` is not loopback.
        ready: Called with the address to open, once it can be opened.

    Raises:
        SiteError: the address is taken, or another studio has this home.
    """
    try:
        with (
            locked(studio.home.studio / ".lock", timeout_seconds=1),
            _bound(host, port) as listening,
        ):
            keys = Keys(host, listening.getsockname()[1], password)
            config = uvicorn.Config(
                studio_app(studio, keys),
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=5,
            )
            shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
            shown = f"[{shown}]" if ":" in shown else shown
            ready(f"http://{shown}:{keys.port}/?token={keys.token}")
            uvicorn.Server(config).run(sockets=[listening])
    except HeldError as error:
        raise SiteError(
            f"{studio.home.folder}: another studio has this home open; use that one, "
            "or stop it"
        ) from error


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SiteError(
            f"{host}:{port} cannot be listened on: {error.strerror}; pass another "
            "--port, or --port 0 for any free one"
        ) from error
