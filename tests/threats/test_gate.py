"""What strangers and admitted sites try at the Fleet API, against Flower's servicer.

The gate stands before Flower's own servicer and state, on a real gRPC server; the calls
are gRPC's. Floods against whole processes: `test_floods.py`.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.client.grpc_rere_client.node_auth_client_interceptor import (
    NodeAuthClientInterceptor,
)
from flwr.common.constant import (
    NOOP_ACCOUNT_NAME,
    NOOP_FLWR_AID,
    PUBLIC_KEY_HEADER,
    SIGNATURE_HEADER,
    SUPERLINK_NODE_ID,
    TIMESTAMP_HEADER,
)
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.fleet_pb2_grpc import FleetStub, add_FleetServicer_to_server
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import Message, Metadata, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.server.superlink.fleet.grpc_rere.fleet_servicer import FleetServicer
from flwr.server.superlink.fleet.grpc_rere.node_auth_server_interceptor import (
    NodeAuthServerInterceptor,
)
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
from flwr.supercore.date import now
from flwr.supercore.interceptors import RpcErrorTranslationServerInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.superlink.config_loader import (
    get_federation_manager,
    get_objectstore_linkstate_factories,
)

from mos_client.federation.supernode_contact import why_not_connected
from mos_server.serving.fleet_gate import GateLimits, gated_server

LIMITS = GateLimits(calls_of_a_site=3, calls=8, handshake_seconds=1.0)
CODES = grpc.StatusCode
PULL = "/flwr.proto.Fleet/PullMessages"


class Site:
    """A node's key, and calls with it."""

    def __init__(self, address: str) -> None:
        self.private = ec.generate_private_key(ec.SECP384R1())
        self.key = public_key_to_bytes(self.private.public_key())
        self.channel = grpc.insecure_channel(address, (("grpc.enable_retries", 0),))
        auth = NodeAuthClientInterceptor(self.private, self.private.public_key())
        self.stub = FleetStub(grpc.intercept_channel(self.channel, auth))
        self.node = 0

    def credentials(self) -> tuple[tuple[str, str | bytes], ...]:
        moment = now().isoformat()
        return (
            (PUBLIC_KEY_HEADER, self.key),
            (TIMESTAMP_HEADER, moment),
            (SIGNATURE_HEADER, sign_message(self.private, moment.encode("ascii"))),
        )

    def activate(self, key: bytes | None = None) -> int:
        request = ActivateNodeRequest(public_key=key or self.key, heartbeat_interval=30)
        return int(self.stub.ActivateNode(request, timeout=60).node_id)

    def pull(self) -> Any:
        request = PullMessagesRequest(node=Node(node_id=self.node))
        return self.stub.PullMessages(request, timeout=60)

    def half_open(self) -> tuple[Any, threading.Event]:
        """A call whose message never comes, until the event is set."""
        end = threading.Event()

        def silence() -> Iterator[bytes]:
            end.wait()
            yield from ()

        call = self.channel.stream_unary(PULL)
        return call.future(silence(), metadata=self.credentials(), timeout=60), end


@dataclass
class Gate:
    address: str
    state: Any
    north: Site
    south: Site

    def standing(self) -> tuple[Any, ...]:
        """Status of each node, and every message that waits for one."""
        nodes = self.state.get_node_info()
        return [(n.node_id, n.status) for n in nodes], dict(
            self.state.message_ins_store
        )


@pytest.fixture
def gate() -> Iterator[Gate]:
    manager = get_federation_manager()
    objects, states = get_objectstore_linkstate_factories(
        FLWR_IN_MEMORY_DB_NAME, manager
    )
    server = gated_server(
        servicer_and_add_fn=(
            FleetServicer(states, objects, enable_supernode_auth=True),
            add_FleetServicer_to_server,
        ),
        server_address="127.0.0.1:0",
        interceptors=[
            RpcErrorTranslationServerInterceptor(),
            NodeAuthServerInterceptor(states),
        ],
        limits=LIMITS,
    )
    server.start()
    made = Gate(
        server.bound_address,
        states.state(),
        Site(server.bound_address),
        Site(server.bound_address),
    )
    for site in (made.north, made.south):
        site.node = made.state.create_node(
            NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, site.key, 30
        )
    yield made
    for site in (made.north, made.south):
        site.channel.close()
    server.stop(None).wait()


def refusal(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """The code and the words with which a call is refused."""
    with pytest.raises(grpc.RpcError) as told:
        call()
    return told.value.code(), str(told.value.details())


def test_honest_node_is_let_in(gate: Gate) -> None:
    assert gate.north.activate() == gate.north.node
    assert list(gate.north.pull().messages_list) == []


def test_node_that_a_stranger_activates(gate: Gate) -> None:
    stranger, before = Site(gate.address), gate.standing()
    told = refusal(lambda: stranger.activate(gate.north.key))
    assert told == (CODES.FAILED_PRECONDITION, "Failed to activate: unknown node key")
    assert gate.standing() == before
    assert gate.north.activate() == gate.north.node
    stranger.channel.close()


def test_node_that_another_site_activates(gate: Gate) -> None:
    before = gate.standing()
    told = refusal(lambda: gate.south.activate(gate.north.key))
    assert told == (CODES.UNAUTHENTICATED, "a node activates itself alone")
    assert gate.standing() == before
    assert gate.north.activate() == gate.north.node


def told_at(gate: Gate, call: Callable[[], Any]) -> str:
    """What the people of a site read when a call of it is refused so."""
    code, words = refusal(call)
    return why_not_connected(code.name, words, address=gate.address, tls=True)


def test_site_that_was_only_away_reads_nothing_of_a_revocation(gate: Gate) -> None:
    """It crashed and its last connection counts as open; or the centre started anew."""
    gate.north.activate()
    before = gate.standing()
    again = told_at(gate, gate.north.activate)
    assert "an earlier connection of this site" in again
    node, gate.north.node = gate.north.node, 7
    anew = told_at(gate, gate.north.pull)
    assert "the centre has started again" in anew
    stranger = Site(gate.address)
    early = told_at(gate, stranger.activate)
    assert "Right after its start it opens to one site after the other" in early
    stranger.channel.close()
    assert "revoke" not in again + anew + early
    gate.north.node = node
    assert gate.standing() == before
    gate.north.pull()


def test_site_that_was_revoked_reads_it(gate: Gate) -> None:
    gate.north.activate()
    gate.state.delete_node(NOOP_FLWR_AID, gate.north.node)
    for call in (gate.north.pull, gate.north.activate):
        assert "the centre has revoked this site" in told_at(gate, call)


def pushed(source: int, target: int, reply_to: str = "") -> Message:
    metadata = Metadata(
        run_id=1,
        message_id="m",
        src_node_id=source,
        dst_node_id=target,
        reply_to_message_id=reply_to,
        message_type="train.tune",
        ttl=60,
    )
    return Message(metadata=metadata)


def test_message_pushed_in_the_centres_name(gate: Gate) -> None:
    gate.north.activate(), gate.south.activate()
    before, south = gate.standing(), gate.south
    for message in (
        pushed(SUPERLINK_NODE_ID, gate.north.node),
        pushed(south.node, gate.north.node),
        pushed(gate.north.node, SUPERLINK_NODE_ID, "m1"),
        pushed(south.node, SUPERLINK_NODE_ID),
    ):
        request = PushMessagesRequest(
            node=Node(node_id=south.node), messages_list=[message]
        )
        push = partial(south.stub.PushMessages, request, timeout=60)
        told = refusal(push)
        assert told[0] is CODES.INVALID_ARGUMENT
        assert "speaks for itself alone" in told[1]
    assert gate.standing() == before
    assert list(gate.north.pull().messages_list) == []


def test_message_that_is_too_large(gate: Gate) -> None:
    gate.south.activate()
    huge = PushObjectRequest(
        node=Node(node_id=gate.south.node),
        run_id=1,
        object_content=bytes(LIMITS.max_message_bytes + 1),
    )
    told = refusal(lambda: gate.south.stub.PushObject(huge, timeout=60))
    assert told[0] is CODES.RESOURCE_EXHAUSTED


def test_answer_of_more_objects_than_any_bundle_has(gate: Gate) -> None:
    gate.south.activate()
    part = PushObjectRequest(
        node=Node(node_id=gate.south.node), run_id=1, object_content=bytes(7 * 2**20)
    )
    words, count = "", 0
    while "an answer has at most" not in words:
        words = refusal(lambda: gate.south.stub.PushObject(part, timeout=60))[1]
        count += 1
        assert count < 100
    assert count == LIMITS.max_answer_bytes // (7 * 2**20) + 1


def test_half_open_calls_of_strangers(gate: Gate) -> None:
    strangers = [Site(gate.address) for _ in range(4)]
    calls = [one.half_open() for one in strangers for _ in range(2 * LIMITS.calls)]
    assert gate.north.activate() == gate.north.node
    # Those that came before the server had said how many it takes end in its "no".
    whys = {(call.code(), call.details()) for call, _ in calls}
    whys = {why for why in whys if "RST_STREAM" not in str(why[1])}
    assert whys == {(CODES.UNAUTHENTICATED, "Invalid node ID: unknown node key")}
    gate.north.pull()
    for _, end in calls:
        end.set()
    for one in strangers:
        one.channel.close()


def test_half_open_calls_of_one_site(gate: Gate) -> None:
    gate.north.activate()
    calls = [gate.south.half_open() for _ in range(LIMITS.calls_of_a_site + 2)]
    late = [call for call, _ in calls[LIMITS.calls_of_a_site :]]
    for call in late:
        assert call.code() is CODES.RESOURCE_EXHAUSTED
        assert "at most 3 calls at a time" in call.details()
    gate.north.pull()
    for _, end in calls:
        end.set()
    for call, _ in calls[: LIMITS.calls_of_a_site]:
        assert call.code() is CODES.INVALID_ARGUMENT
    gate.south.activate()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {PUBLIC_KEY_HEADER: b"", SIGNATURE_HEADER: b""},
        {SIGNATURE_HEADER: b"\x00" * 96},
        {TIMESTAMP_HEADER: "2020-01-01T00:00:00+00:00"},
        {TIMESTAMP_HEADER: "yesterday"},
    ],
    ids=["none", "empty", "signature", "old", "no time"],
)
def test_credentials_that_do_not_hold(
    gate: Gate, change: dict[str, str | bytes]
) -> None:
    """Of a key that is registered, as everybody may know it."""
    credentials = dict(gate.north.credentials()) | change if change else {}
    call = gate.south.channel.unary_unary(
        PULL, request_serializer=PullMessagesRequest.SerializeToString
    )
    request = PullMessagesRequest(node=Node(node_id=gate.north.node))
    metadata = tuple(credentials.items())
    code, _ = refusal(lambda: call(request, metadata=metadata, timeout=60))
    assert code is CODES.UNAUTHENTICATED


def test_call_of_another_sites_node(gate: Gate) -> None:
    request = SendNodeHeartbeatRequest(
        node=Node(node_id=gate.north.node), heartbeat_interval=30
    )
    told = refusal(lambda: gate.south.stub.SendNodeHeartbeat(request, timeout=60))
    assert told == (CODES.UNAUTHENTICATED, "Invalid node ID")


@pytest.mark.parametrize(
    "method", ["/flwr.proto.Fleet/Nothing", "/flwr.proto.Control/X"]
)
def test_method_that_is_not_the_fleets(gate: Gate, method: str) -> None:
    call = gate.north.channel.unary_unary(method)
    code, _ = refusal(lambda: call(b"", timeout=60))
    assert code is CODES.UNIMPLEMENTED


def test_connection_that_says_nothing_is_closed(gate: Gate) -> None:
    host, _, port = gate.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as silent:
        # The server's own greeting, if any, and then the end.
        while silent.recv(4096):
            pass
