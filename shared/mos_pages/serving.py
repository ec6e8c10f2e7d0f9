"""One server of one page: loopback only, unless a host and a password are given."""

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from mos_pages.guard import Application, Keys
from mos_runtime.errors import MosError
from mos_runtime.locking import HeldError, locked


class PageError(MosError):
    """A page cannot be served."""


@dataclass(frozen=True)
class Page:
    """Where a page is served, and to whom."""

    title: str
    """What the page is called, as "Studio"."""

    command: str
    """The command that serves it, as messages name it."""

    host: str
    """Address to listen on."""

    port: int
    """TCP port; 0 is any free one."""

    password: str | None = None
    """What other machines' browsers are let in with."""

    viewers: bool = False
    """Whether there is a second address, for those who only read."""

    def __post_init__(self) -> None:
        """Refuse to listen to other machines without a password.

        Raises:
            PageError: it would.
        """
        if not _is_loopback(self.host) and not self.password:
            raise PageError(
                f"--host {self.host}: other machines could use the page; pass "
                "--password too"
            )


def serve(
    page: Page,
    app_of: Callable[[Keys], Application],
    *,
    lock: Path,
    ready: Callable[[Keys], None],
) -> None:
    """Serve until Ctrl-C.

    Args:
        page: Where, and to whom.
        app_of: Makes the application, guarded by the keys it is given.
        lock: A file that one server at a time holds.
        ready: Called with the addresses to open, once they can be opened.

    Raises:
        PageError: the address is taken, or another server holds the lock.
    """
    try:
        with (
            locked(lock, timeout_seconds=1),
            _bound(page.host, page.port) as listening,
        ):
            port = listening.getsockname()[1]
            keys = Keys(
                page.title, page.command, page.host, port, page.password, page.viewers
            )
            config = uvicorn.Config(
                app_of(keys),
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=5,
            )
            ready(keys)
            uvicorn.Server(config).run(sockets=[listening])
    except HeldError as error:
        raise PageError(
            f"{lock.parent}: another `{page.command}` has it open; use that one, or "
            "stop it"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise PageError(
            f"{host}:{port} cannot be listened on: {error.strerror}; pass another "
            "--port, or --port 0 for any free one"
        ) from error
