"""A port on loopback that only this account can use.

Every local user can connect to a loopback port. Flower's HTTP APIs take whoever comes,
and run what they are given as this account. So the account behind each connection is
looked up in the system's table of sockets, before anything of a request is read. Linux
has such a table; elsewhere nothing is checked, and the machine must be one person's.

Without Flower and without a web server: `OwnerOnly` is a plain ASGI application.
"""

import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED: Final = "01"
_REFUSED: Final = 403
_WORDS: Final = b"this port serves only processes of the account that opened it\n"


def owner_of_connection(
    client_port: int, server_port: int, tables: tuple[Path, ...] = _TABLES
) -> int | None:
    """The user id behind the client's end of a connection on 127.0.0.1.

    Args:
        client_port: TCP port of the client's end.
        server_port: TCP port of the server's end.
        tables: Linux' tables of TCP sockets.

    Returns:
        None where no open socket has these ends: one that its process has closed
        belongs to nobody, and stands in the table as root's.
    """
    ends = (f"0100007F:{client_port:04X}", f"0100007F:{server_port:04X}")
    for table in tables:
        try:
            lines = table.read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            local, remote, state = fields[1:4]
            # A socket of IPv6 has the same end behind a prefix.
            if not (local.endswith(ends[0]) and remote.endswith(ends[1])):
                continue
            user, inode = fields[7], fields[9]
            if state == _ESTABLISHED and inode != "0":
                return int(user)
    return None


class OwnerOnly:
    """Lets requests of this account through, and answers all others with 403."""

    def __init__(self, app: Application) -> None:
        """Guard `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's request, or the server's own start and stop."""
        if scope["type"] == "lifespan" or _is_ours(scope):
            await self._app(scope, receive, send)
            return
        headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
        begin = {"type": "http.response.start", "status": _REFUSED, "headers": headers}
        await send(begin)
        await send({"type": "http.response.body", "body": _WORDS})


def _is_ours(scope: Scope) -> bool:
    if sys.platform != "linux":
        return scope["type"] == "http"
    client, server = scope.get("client"), scope.get("server")
    if scope["type"] != "http" or not client or not server:
        return False
    return owner_of_connection(client[1], server[1]) == os.getuid()


def keep_to_owner(config: Any) -> None:
    """Guard every application that a web server of this process serves from now on.

    Args:
        config: The class `uvicorn.Config`. The guard goes around all that it loads, its
            reading of `X-Forwarded-For` included, by which a client could lie.
    """
    load = config.load

    def guarded(self: Any) -> None:
        load(self)
        self.loaded_app = OwnerOnly(self.loaded_app)

    config.load = guarded
