"""The door of the Fleet API: who calls is known before a byte of the call is read.

Flower's own server receives a message whole, up to 2 GB, before it looks at the key in
the call's metadata, and lets anyone keep a thousand calls half-open. Here the order is

    the method is the Fleet's -> the node key is registered -> its signature
    -> a free slot of that key -> the message, within a size and a time
    -> the message speaks for that key and that node alone -> Flower

A call that is refused early is never read: it is answered as one whose messages nobody
asks for, so that gRPC takes no more of it from the network than its first window.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc  # type: ignore[import-untyped]
from flwr.common.constant import PUBLIC_KEY_HEADER, SUPERLINK_NODE_ID
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PushMessagesRequest
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.server.superlink.fleet.grpc_rere.node_auth_server_interceptor import (
    NodeAuthServerInterceptor,
)
from flwr.supercore.constant import NodeStatus
from flwr.supercore.utils import get_metadata_bytes

from mos_protocol.signed.bundle import MAX_BUNDLE_BYTES

_SERVICE: Final = "/flwr.proto.Fleet/"
_ACTIVATE: Final = f"{_SERVICE}ActivateNode"
_Status: Final = grpc.StatusCode


@dataclass(frozen=True)
class GateLimits:
    """What no honest site exceeds."""

    max_message_bytes: int = 8 * 2**20
    """Of one gRPC message. Flower cuts a bundle into objects of 5 MiB."""

    max_answer_bytes: int = MAX_BUNDLE_BYTES + 8 * 2**20
    """All objects of one answer together."""

    calls_of_a_site: int = 16
    """Calls of one node key at a time; an honest node has at most six."""

    calls: int = 1000
    """Calls of all nodes at a time."""

    receive_seconds: float = 300.0
    """Within which a message must have arrived whole: 8 MiB at 32 KiB/s."""

    handshake_seconds: float = 10.0
    """Within which a connection must speak TLS and HTTP/2."""

    idle_seconds: float = 300.0
    """After which a connection without a call is closed; nodes call every 30 s."""


class FleetGate(grpc.ServerInterceptor):  # type: ignore[misc]
    """Stands before all that Flower does with a call of the Fleet API."""

    def __init__(
        self, state_factory: Any, *, registered_only: bool, limits: GateLimits
    ) -> None:
        """A gate.

        Args:
            state_factory: Flower's, for the registered node keys.
            registered_only: Whether nodes must have been registered by the centre.
            limits: Slots, sizes and times.
        """
        self._state_factory, self._limits = state_factory, limits
        self._registered_only = registered_only
        self._auth = NodeAuthServerInterceptor(state_factory)
        self._lock = threading.Lock()
        self._calls: Counter[bytes] = Counter()
        self._pushed: Counter[bytes] = Counter()

    def intercept_service(
        self, continuation: Callable[[Any], Any], details: Any
    ) -> grpc.RpcMethodHandler | None:
        """The handler of one call: Flower's behind the gate, or a refusal."""
        if not details.method.startswith(_SERVICE):
            return None
        inner = continuation(details)
        if inner is None:
            return None
        key = get_metadata_bytes(details.invocation_metadata, PUBLIC_KEY_HEADER) or b""
        if key and self._registered_only and not self._is_registered(key):
            if details.method == _ACTIVATE:
                code, words = _Status.FAILED_PRECONDITION, "Failed to activate"
            else:
                code, words = _Status.UNAUTHENTICATED, "Invalid node ID"
            why = "revoked" if self._was_registered(key) else "unknown"
            return _refusal(
                lambda context: context.abort(code, f"{words}: {why} node key")
            )
        passed: list[Any] = []

        def taken(_: Any) -> Any:
            passed.append(inner)
            return inner

        try:
            handler = self._auth.intercept_service(taken, details)
        except Exception as error:
            words = f"unreadable credentials ({type(error).__name__})"
            return _refusal(
                lambda context: context.abort(_Status.UNAUTHENTICATED, words)
            )
        if not passed:  # it is one of Flower's refusals, which reads no request
            return _refusal(lambda context: handler.unary_unary(None, context))
        return self._gated(handler, key)

    def _is_registered(self, key: bytes) -> bool:
        state = self._state_factory.state()
        return state.get_node_id_by_public_key(key) is not None

    def _was_registered(self, key: bytes) -> bool:
        """Whether the key was, since the SuperLink's start, and was revoked since."""
        gone = [NodeStatus.UNREGISTERED]
        nodes = self._state_factory.state().get_node_info(statuses=gone)
        return any(node.public_key == key for node in nodes)

    def _gated(self, handler: Any, key: bytes) -> grpc.RpcMethodHandler:
        def handle(messages: Iterator[Any], context: Any) -> Any:
            with self._slot(key) as free:
                if not free:
                    words = f"at most {self._limits.calls_of_a_site} calls at a time"
                    context.abort(_Status.RESOURCE_EXHAUSTED, words)
                request = self._received(messages, context)
                self._check(request, key, context)
                answer = handler.unary_unary(request, context)
                if isinstance(request, PushMessagesRequest):
                    self._pushed[key] = 0
                return answer

        return grpc.stream_unary_rpc_method_handler(
            handle, handler.request_deserializer, handler.response_serializer
        )

    @contextmanager
    def _slot(self, key: bytes) -> Iterator[bool]:
        with self._lock:
            free = self._calls[key] < self._limits.calls_of_a_site
            self._calls[key] += 1
        try:
            yield free
        finally:
            with self._lock:
                self._calls[key] -= 1
                if not self._calls[key]:
                    del self._calls[key]

    def _received(self, messages: Iterator[Any], context: Any) -> Any:
        late = threading.Timer(self._limits.receive_seconds, context.cancel)
        late.daemon = True
        late.start()
        try:
            request = next(messages, None)
        finally:
            late.cancel()
        if request is None:
            context.abort(_Status.INVALID_ARGUMENT, "a call has one message")
        return request

    def _check(self, request: Any, key: bytes, context: Any) -> None:
        """Refuse a message that speaks for another, or for the centre."""
        if isinstance(request, ActivateNodeRequest) and request.public_key != key:
            words = "a node activates itself alone"
            context.abort(_Status.UNAUTHENTICATED, words)
        if isinstance(request, PushMessagesRequest):
            node = request.node.node_id
            for metadata in (message.metadata for message in request.messages_list):
                ends = (metadata.src_node_id, metadata.dst_node_id)
                if (
                    ends != (node, SUPERLINK_NODE_ID)
                    or not metadata.reply_to_message_id
                ):
                    words = "a node answers the centre, and speaks for itself alone"
                    context.abort(_Status.INVALID_ARGUMENT, words)
        if isinstance(request, PushObjectRequest):
            with self._lock:
                self._pushed[key] += len(request.object_content)
                total = self._pushed[key]
            if total > self._limits.max_answer_bytes:
                words = f"an answer has at most {self._limits.max_answer_bytes} bytes"
                context.abort(_Status.RESOURCE_EXHAUSTED, words)


def gated_server(
    *,
    servicer_and_add_fn: tuple[Any, Callable[[Any, Any], None]],
    server_address: str,
    certificates: tuple[bytes, bytes, bytes] | None = None,
    interceptors: list[Any],
    limits: GateLimits | None = None,
    **_: Any,
) -> Any:
    """In the place of Flower's `generic_create_grpc_server`: the same, behind a gate.

    Args:
        servicer_and_add_fn: Flower's Fleet servicer, and what adds it to a server.
        server_address: HOST:PORT.
        certificates: Authority, certificate and private key, PEM; None without TLS.
        interceptors: Flower's; its check of node keys is made by the gate.
        limits: Of the gate.
    """
    kept = limits or GateLimits()
    servicer, add = servicer_and_add_fn
    gate = FleetGate(
        servicer.state_factory,
        registered_only=servicer.enable_supernode_auth,
        limits=kept,
    )
    others = [i for i in interceptors if not isinstance(i, NodeAuthServerInterceptor)]
    server = grpc.server(
        ThreadPoolExecutor(kept.calls),
        maximum_concurrent_rpcs=kept.calls,
        interceptors=[gate, *others],
        options=[
            ("grpc.max_concurrent_streams", 2 * kept.calls_of_a_site),
            ("grpc.max_receive_message_length", kept.max_message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.server_handshake_timeout_ms", int(1000 * kept.handshake_seconds)),
            ("grpc.max_connection_idle_ms", int(1000 * kept.idle_seconds)),
            # As Flower sets them, so that dead connections are noticed.
            ("grpc.keepalive_time_ms", 210_000),
            ("grpc.http2.max_pings_without_data", 0),
        ],
    )
    add(servicer, server)
    if certificates is None:
        port = server.add_insecure_port(server_address)
    else:
        authority, certificate, private = certificates
        credentials = grpc.ssl_server_credentials([(private, certificate)], authority)
        port = server.add_secure_port(server_address, credentials)
    server.bound_address = f"{server_address.rpartition(':')[0]}:{port}"
    return server


def _refusal(abort: Callable[[Any], Any]) -> grpc.RpcMethodHandler:
    """A handler that ends a call without reading it."""
    return grpc.stream_unary_rpc_method_handler(lambda _, context: abort(context))
