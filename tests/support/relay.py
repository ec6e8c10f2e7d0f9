"""A stretch of network between a site and its centre that can be cut in mid-flow."""

import socket
import threading
from contextlib import suppress
from typing import Any, Final

_CHUNK_BYTES: Final = 16 * 2**10
_PATIENCE_SECONDS: Final = 240.0


class Relay:
    """Passes TCP connections on to the centre, until it is told to hold them."""

    def __init__(self, target: str) -> None:
        """Listen on a port of its own.

        Args:
            target: HOST:PORT of the centre.
        """
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._let_pass = threading.Event()
        self._let_pass.set()
        self._held = threading.Event()
        self._left: int | None = None
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def hold_after(self, sent_bytes: int) -> None:
        """Let this much more through from the site, and then nothing in any way."""
        self._held.clear()
        self._left = sent_bytes

    def wait_until_held(self) -> None:
        """Until that much has passed."""
        assert self._held.wait(_PATIENCE_SECONDS), "so much was never sent"

    def release(self) -> None:
        """Drop the connections that are there, and let new ones through."""
        self._left = None
        kept, self._sockets = self._sockets, []
        for one in kept:
            _shut(one)
        self._let_pass.set()

    def close(self) -> None:
        """Take it away."""
        _shut(self._listener)
        self.release()
        for thread in self._threads:
            thread.join()

    def _start(self, work: object, *arguments: object) -> None:
        given: Any = {"target": work, "args": arguments}
        thread = threading.Thread(**given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                site, _ = self._listener.accept()
            except OSError:
                return
            try:
                centre = socket.create_connection(self._target)
            except OSError:
                _shut(site)
                continue
            self._sockets += [site, centre]
            self._start(self._pass_on, site, centre, True)
            self._start(self._pass_on, centre, site, False)

    def _pass_on(self, one: socket.socket, other: socket.socket, up: bool) -> None:
        with suppress(OSError):
            while content := one.recv(_CHUNK_BYTES):
                if up and self._left is not None:
                    self._left -= len(content)
                    if self._left <= 0:
                        self._let_pass.clear()
                        self._held.set()
                self._let_pass.wait()
                other.sendall(content)
        _shut(one)
        _shut(other)


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
