"""deploy/front.conf in nginx: the Fleet service alone, with limits for each address."""

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.proto.fleet_pb2_grpc import FleetStub

from mos_client.store.home import SiteHome
from mos_runtime.flower_env import free_port
from mos_server.serving.fleet_gate import GateLimits
from tests.support.programs import PATIENCE_SECONDS
from tests.threats.door import Door, NodeCaller, opened

TEMPLATE = Path(__file__).parents[2] / "deploy" / "front.conf"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
FLEET = "/flwr.proto.Fleet/"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed"),
]


@dataclass
class Front:
    """nginx before a door."""

    address: str
    door: Door

    @contextmanager
    def channel(self) -> Iterator[Any]:
        credentials = grpc.ssl_channel_credentials(self.door.authority)
        options = (
            ("grpc.enable_retries", 0),
            ("grpc.max_send_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),
        )
        with grpc.secure_channel(self.address, credentials, options) as channel:
            yield channel

    def code_of(self, method: str, content: bytes = b"") -> tuple[Any, str]:
        with self.channel() as channel, pytest.raises(grpc.RpcError) as told:
            channel.unary_unary(method)(content, timeout=60)
        return told.value.code(), str(told.value.details())


def written(home: Path, listen: str, superlink: str) -> Path:
    """The configuration as its head says to make it."""
    text = TEMPLATE.read_text()
    places = {"@HOME@": home, "@LISTEN@": listen, "@SUPERLINK@": superlink}
    for mark, place in places.items():
        text = text.replace(mark, str(place))
    path = home / "front.conf"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with opened(tmp_path_factory.mktemp("front")) as door:
        address = f"127.0.0.1:{free_port()}"
        path = written(door.folder, address, door.address)
        subprocess.run([NGINX, "-t", "-c", path], check=True)
        nginx = subprocess.Popen([NGINX, "-c", path, "-g", "daemon off;"])
        made = Front(address, door)
        try:
            with made.channel() as channel:
                ready = grpc.channel_ready_future(channel)
                ready.result(timeout=PATIENCE_SECONDS)
            yield made
        finally:
            nginx.terminate()
            nginx.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def site(front: Front) -> NodeCaller:
    welcome = front.door.welcome("north")
    front.door.register("north")
    home = SiteHome.open(front.door.folder / "north")
    made = NodeCaller(home, front.address, welcome.ca_certificate)
    made.activate()
    return made


def test_site_is_served_through_the_front(front: Front, site: NodeCaller) -> None:
    site.pull(60.0)
    assert "online" in front.door.nodes()


def test_node_keys_are_checked_behind_the_front(front: Front) -> None:
    with front.channel() as channel, pytest.raises(grpc.RpcError) as told:
        FleetStub(channel).ActivateNode(ActivateNodeRequest(), timeout=60)
    assert told.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "method", ["/flwr.proto.Control/ListRuns", "/", "/health", f"{FLEET}../Control/X"]
)
def test_nothing_but_the_fleet_service_is_passed_on(front: Front, method: str) -> None:
    code, words = front.code_of(method)
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "404" in words


def test_message_that_is_too_large_ends_at_the_front(front: Front) -> None:
    """At 413; where nginx is quick, the client sees its stream cut off."""
    limit = GateLimits().max_message_bytes
    code, _ = front.code_of(f"{FLEET}PushObject", bytes(4 * limit))
    assert code is not grpc.StatusCode.OK


def test_half_open_calls_of_one_address_leave_the_others_room(
    front: Front, site: NodeCaller
) -> None:
    """The same address has more than its share; what is refused is refused at once."""
    end = threading.Event()

    def silence() -> Iterator[bytes]:
        end.wait()
        yield from ()

    with front.channel() as one, front.channel() as other, front.channel() as third:
        calls = [
            channel.stream_unary(f"{FLEET}PushObject").future(silence(), timeout=60)
            for channel in (one, other, third)
            for _ in range(30)
        ]
        codes = {call.code() for call in calls}
        end.set()
    assert grpc.StatusCode.OK not in codes
    # The address's calls are over: it is served again.
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        with suppress(grpc.RpcError):
            site.pull(10.0)
            break
        assert time.monotonic() < until
