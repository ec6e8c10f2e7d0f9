"""Floods by strangers at a centre's port: sites are served, and memory stays bounded.

A real SuperLink process with TLS; nobody here knows a registered node key but the
honest site, which connects anew for every call.
"""

import resource
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import grpc  # type: ignore[import-untyped]
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import (
    PUBLIC_KEY_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
)
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message

from mos_client.store.home import SiteHome
from tests.threats.door import Door, NodeCaller

pytestmark = pytest.mark.slow

SERVED_WITHIN_SECONDS: Final = 10.0
"""How long a site's call may take under a flood, its connection included."""

MAX_GROWTH_BYTES: Final = 256 * 2**20
"""What a flood may add to the resident memory of the SuperLink's processes."""

REFUSED: Final = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE}
"""By the gate, or cut off while still sending."""

PUSH: Final = "/flwr.proto.Fleet/PushObject"
Metadata = tuple[tuple[str, str | bytes], ...]


def resident(door: Door) -> int:
    own = psutil.Process(door.superlink.family.pid)
    total = 0
    for process in (own, *own.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


@pytest.fixture(scope="module")
def site(door: Door) -> NodeCaller:
    welcome = door.welcome("honest")
    door.register("honest")
    home = SiteHome.open(door.folder / "honest")
    made = NodeCaller(home, door.address, welcome.ca_certificate)
    made.activate()
    made.pull(60.0)
    return made


@contextmanager
def bounded_memory(door: Door) -> Iterator[None]:
    """The SuperLink's memory is looked at ten times a second, and stays in bounds."""
    before, most, over = resident(door), [0], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            most[0] = max(most[0], resident(door))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    growth = max(most[0], resident(door)) - before
    print(f"{before / 2**20:.0f} MiB and {growth / 2**20:.0f} MiB more")
    assert growth < MAX_GROWTH_BYTES
    assert door.superlink.family.exit_code() is None


def strangers_credentials() -> Metadata:
    private = ec.generate_private_key(ec.SECP384R1())
    moment = now().isoformat()
    return (
        (PUBLIC_KEY_HEADER, public_key_to_bytes(private.public_key())),
        (TIMESTAMP_HEADER, moment),
        (SIGNATURE_HEADER, sign_message(private, moment.encode("ascii"))),
    )


@contextmanager
def strangers_channel(door: Door) -> Iterator[Any]:
    credentials = grpc.ssl_channel_credentials(door.authority)
    options = (
        ("grpc.enable_retries", 0),
        ("grpc.max_send_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
    )
    with grpc.secure_channel(door.address, credentials, options) as channel:
        yield channel


WHO = pytest.mark.parametrize(
    "credentials", [tuple, strangers_credentials], ids=["no key", "own key"]
)


@WHO
def test_messages_of_900_mib(
    door: Door, site: NodeCaller, credentials: Callable[[], Metadata]
) -> None:
    huge, nodes = bytes(900 * 2**20), door.nodes()

    def send(_: int) -> grpc.StatusCode:
        with strangers_channel(door) as channel, pytest.raises(grpc.RpcError) as told:
            channel.unary_unary(PUSH)(huge, metadata=credentials(), timeout=120)
        return told.value.code()

    with bounded_memory(door), ThreadPoolExecutor(3) as pool:
        sent = [pool.submit(send, number) for number in range(3)]
        site.pull(SERVED_WITHIN_SECONDS)
        codes = {one.result() for one in sent}
        site.pull(SERVED_WITHIN_SECONDS)
    assert codes <= REFUSED
    assert door.nodes() == nodes


@WHO
def test_half_open_calls(
    door: Door, site: NodeCaller, credentials: Callable[[], Metadata]
) -> None:
    """1,040 calls whose message never comes, over 26 connections."""
    end, shown = threading.Event(), credentials()

    def silence() -> Iterator[bytes]:
        end.wait()
        yield from ()

    with bounded_memory(door), ExitStack() as stack:
        channels = [stack.enter_context(strangers_channel(door)) for _ in range(26)]
        stack.callback(end.set)
        calls = [
            channel.stream_unary(PUSH).future(silence(), metadata=shown, timeout=120)
            for channel in channels
            for _ in range(40)
        ]
        site.pull(SERVED_WITHIN_SECONDS)
        codes = {call.code() for call in calls}
        site.pull(SERVED_WITHIN_SECONDS)
    assert len(calls) == 1040
    assert codes <= REFUSED


def test_silent_connections(door: Door, site: NodeCaller) -> None:
    """2,000 connections that say nothing are closed by the server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip(f"at most {hard} open files here; 4,096 are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    host, _, port = door.address.rpartition(":")
    with bounded_memory(door), ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection((host, int(port)), 60))
            for _ in range(2000)
        ]
        site.pull(SERVED_WITHIN_SECONDS)
        for one in silent:
            assert one.recv(1) == b""
        site.pull(SERVED_WITHIN_SECONDS)
