"""A port on loopback serves the account that opened it, and no other."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from mos_runtime.loopback import OwnerOnly, keep_to_owner, owner_of_connection
from tests.support.accounts import NEEDS_ROOT, NOBODY, connected, http_status


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a guarded web server."""
    monkeypatch.setattr(uvicorn.Config, "load", uvicorn.Config.load)
    keep_to_owner(uvicorn.Config)
    config = uvicorn.Config(hello, host="127.0.0.1", port=0, lifespan="off", ws="none")
    server, listening = uvicorn.Server(config), socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    run = server.serve(sockets=[listening])
    thread = threading.Thread(target=asyncio.run, args=(run,))
    thread.start()
    yield int(listening.getsockname()[1])
    server.should_exit = True
    thread.join()


def test_own_account_is_served(port: int) -> None:
    assert http_status(port, "GET", "/", tls=False) == 200


@NEEDS_ROOT
@pytest.mark.parametrize(
    "headers", [{}, {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}]
)
def test_another_account_is_refused(port: int, headers: dict[str, str]) -> None:
    given: dict[str, Any] = {"tls": False, "account": NOBODY, "headers": headers}
    assert http_status(port, "GET", "/", **given) == 403
    assert http_status(port, "POST", "/", **given) == 403
    assert http_status(port, "GET", "/", tls=False) == 200


@NEEDS_ROOT
def test_owner_of_a_connection_is_who_opened_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()[1]
        for account, owner in ((None, 0), (NOBODY, NOBODY)):
            with connected(place, account=account) as client:
                ends = (client.getsockname()[1], place)
                assert owner_of_connection(*ends) == owner
            assert owner_of_connection(*ends) is None


def test_connection_that_no_table_knows_belongs_to_nobody(tmp_path: Path) -> None:
    assert owner_of_connection(1, 2, (tmp_path / "tcp",)) is None


def test_connection_of_another_kind_is_refused() -> None:
    """A websocket, or a server that does not say who is connected."""
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing of the request is read")

    for scope in ({"type": "websocket"}, {"type": "http", "client": None}):
        asyncio.run(OwnerOnly(hello)(scope, receive, send))
    assert [one.get("status") for one in said[::2]] == [403, 403]
