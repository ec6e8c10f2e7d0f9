"""A SuperLink as `serve` starts it, and calls to it as a site's node makes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.client.grpc_rere_client.node_auth_client_interceptor import (
    NodeAuthClientInterceptor,
)
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest
from flwr.proto.fleet_pb2_grpc import FleetStub
from flwr.proto.node_pb2 import Node
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from mos_client.store.home import SiteHome
from mos_protocol.signed.enrolment import Welcome
from mos_runtime.flower_env import free_port
from mos_runtime.processes import Stopping
from mos_server.registry.home import HOME_VARIABLE
from mos_server.registry.sites.node_keys import node_key, openssh_form
from mos_server.serving.superlink import CONNECTION, SuperLink
from mos_server.serving.tls import ensure_certificates
from tests.support.programs import processes_about
from tests.support.sites import Centre


@dataclass
class Door:
    """A SuperLink with TLS that wants registered node keys, as `serve` starts it."""

    folder: Path
    superlink: SuperLink
    address: str
    centre: Centre

    def welcome(self, name: str) -> Welcome:
        """A site's, enrolled by the two files."""
        home = SiteHome.open(self.folder / name, create=True)
        welcome = self.centre.enrol(home, name)
        authority = (self.folder / "tls" / "ca.crt").read_bytes()
        return replace(welcome, address=self.address, ca_certificate=authority)

    def register(self, name: str) -> None:
        path = self.folder / f"{name}.pub"
        key = SiteHome.open(self.folder / name).node_public_path.read_bytes()
        path.write_bytes(openssh_form(key) + b"\n")
        told = self.superlink.flwr("supernode", "register", str(path), CONNECTION)
        assert told.get("node-id"), told

    def nodes(self) -> list[str]:
        """Status of every node that the SuperLink knows."""
        told = self.superlink.flwr("supernode", "list", CONNECTION)
        return [str(node["status"]) for node in told.get("nodes", [])]

    @property
    def authority(self) -> bytes:
        """The certificate that sites trust, PEM."""
        return (self.folder / "tls" / "ca.crt").read_bytes()


@contextmanager
def opened(folder: Path) -> Iterator[Door]:
    """A door, until the context ends; nothing of it is left running then."""
    certificates = ensure_certificates(folder / "tls", ["127.0.0.1"])
    address = f"127.0.0.1:{free_port()}"
    words = ["--fleet-api-address", address, "--enable-supernode-auth"]
    home = {HOME_VARIABLE: str(folder / "centre")}
    superlink = SuperLink(folder / "flower", words, certificates=certificates, **home)
    try:
        superlink.wait_until_ready(Stopping())
        yield Door(folder, superlink, address, Centre.at(folder / "centre"))
    finally:
        superlink.family.stop()
    assert processes_about(folder) == []


class NodeCaller:
    """A site's node key, and single calls with it over connections of their own."""

    def __init__(self, home: SiteHome, address: str, authority: bytes) -> None:
        content = home.node_key_path.read_bytes()
        private: Any = load_ssh_private_key(content, None)
        self._auth = NodeAuthClientInterceptor(private, private.public_key())
        public = node_key(home.node_public_path.read_bytes())
        self._key = public_key_to_bytes(public)
        self._address, self._authority = address, authority
        self._node = 0

    def activate(self) -> None:
        request = ActivateNodeRequest(public_key=self._key, heartbeat_interval=1800)
        self._node = int(self._call("ActivateNode", request, 60.0).node_id)

    def pull(self, seconds: float) -> None:
        """Connect anew and look for messages; raises where that takes longer."""
        request = PullMessagesRequest(node=Node(node_id=self._node))
        self._call("PullMessages", request, seconds)

    def _call(self, method: str, request: Any, seconds: float) -> Any:
        credentials = grpc.ssl_channel_credentials(self._authority)
        # A connection of its own, as after a restart.
        options = (("grpc.use_local_subchannel_pool", 1),)
        with grpc.secure_channel(self._address, credentials, options) as channel:
            stub = FleetStub(grpc.intercept_channel(channel, self._auth))
            return getattr(stub, method)(request, timeout=seconds, wait_for_ready=True)
