"""Connections that belong to another account of this machine; they need root."""

import os
import socket
import ssl
from contextlib import closing
from http.client import HTTPConnection

import pytest

NOBODY = 65534
NEEDS_ROOT = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="only root can open a connection as another account",
)


def connected(port: int, *, account: int | None = None) -> socket.socket:
    """A connection to a loopback port; a socket is its account's who opens it."""
    if account is None:
        return socket.create_connection(("127.0.0.1", port), timeout=60)
    own = os.geteuid()
    os.seteuid(account)
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=60)
    finally:
        os.seteuid(own)


def http_status(
    port: int,
    method: str,
    path: str,
    *,
    tls: bool,
    account: int | None = None,
    headers: dict[str, str] | None = None,
) -> int:
    """What a web server on a loopback port answers."""
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        connection.sock = connected(port, account=account)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection.sock = context.wrap_socket(connection.sock)
        connection.request(method, path, headers=headers or {})
        with connection.getresponse() as response:
            return response.status
