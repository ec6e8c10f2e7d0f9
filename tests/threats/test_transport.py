"""Who may connect, and what a site runs: a real SuperLink, real sites at its door."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.client.grpc_rere_client.node_auth_client_interceptor import (
    NodeAuthClientInterceptor,
)
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.proto.fleet_pb2_grpc import FleetStub
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from mos_client.federation.supernode_contact import reason_of
from mos_client.store.home import SiteHome
from mos_protocol.signed.enrolment import Welcome
from mos_server.registry.sites.node_keys import node_key
from mos_server.serving.tls import ensure_certificates
from tests.support.programs import Program
from tests.threats.door import Door

pytestmark = pytest.mark.slow


def refused_at(door: Door, name: str, welcome: Welcome) -> str:
    """Join in vain; why, as the site is told."""
    path = door.folder / f"{name}.welcome"
    path.write_bytes(welcome.to_bytes())
    home = SiteHome.open(door.folder / name)
    program = Program("client", "join", path, "--home", home.folder)
    try:
        told = program.wait_for("not-connected")
        assert "connected" not in [one["event"] for one in program.seen]
    finally:
        program.kill()
    assert reason_of(home.flower) == told["reason"]
    return str(told["reason"])


def test_unregistered_node_key(door: Door) -> None:
    reason = refused_at(door, "stranger", door.welcome("stranger"))
    assert "does not let this site's node key in" in reason
    assert "online" not in door.nodes()


def test_site_without_a_certificate(door: Door) -> None:
    welcome = replace(door.welcome("plain"), ca_certificate=b"")
    assert "does not take plain text" in refused_at(door, "plain", welcome)
    assert "online" not in door.nodes()


def test_site_whose_welcome_names_another_authority(door: Door, tmp_path: Path) -> None:
    other = ensure_certificates(tmp_path / "tls", ["127.0.0.1"]).ca.read_bytes()
    welcome = replace(door.welcome("misled"), ca_certificate=other)
    assert "not of the authority" in refused_at(door, "misled", welcome)


def call(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.StatusCode:
    """The status of one call of the Fleet API."""
    options = (("grpc.enable_retries", 0),)
    channel = (
        grpc.insecure_channel(address, options)
        if credentials is None
        else grpc.secure_channel(address, credentials, options)
    )
    with channel:
        stub = FleetStub(channel)
        with pytest.raises(grpc.RpcError) as refusal:
            stub.ActivateNode(ActivateNodeRequest(), timeout=30)
    return refusal.value.code()


def test_plain_text_to_a_tls_centre(door: Door) -> None:
    assert call(door.address, None) is grpc.StatusCode.UNAVAILABLE
    # The same call with the centre's own authority gets as far as the node key.
    authority = (door.folder / "tls" / "ca.crt").read_bytes()
    trusted = grpc.ssl_channel_credentials(authority)
    assert call(door.address, trusted) is grpc.StatusCode.UNAUTHENTICATED


def test_centre_with_the_certificate_of_another_authority(
    door: Door, tmp_path: Path
) -> None:
    other = ensure_certificates(tmp_path / "tls", ["127.0.0.1"]).ca.read_bytes()
    misled = grpc.ssl_channel_credentials(other)
    assert call(door.address, misled) is grpc.StatusCode.UNAVAILABLE


def test_node_of_a_site_that_strangers_activate(door: Door) -> None:
    """The site is not shut out, and nobody learns its node id."""
    welcome = door.welcome("west")
    door.register("west")
    path = door.folder / "west.welcome"
    path.write_bytes(welcome.to_bytes())
    home = SiteHome.open(door.folder / "west")
    before = door.nodes()
    key = public_key_to_bytes(node_key(home.node_public_path.read_bytes()))
    credentials = grpc.ssl_channel_credentials(welcome.ca_certificate)
    stranger = ec.generate_private_key(ec.SECP384R1())
    auth = NodeAuthClientInterceptor(stranger, stranger.public_key())
    for interceptors in ([], [auth]):
        with grpc.secure_channel(door.address, credentials) as channel:
            stub = FleetStub(grpc.intercept_channel(channel, *interceptors))
            request = ActivateNodeRequest(public_key=key, heartbeat_interval=1800)
            with pytest.raises(grpc.RpcError):
                stub.ActivateNode(request, timeout=30)
    assert door.nodes() == before
    program = Program("client", "join", path, "--home", home.folder)
    try:
        program.wait_for("connected")
    finally:
        program.kill()
    assert "not-connected" not in [one["event"] for one in program.seen]


def test_app_that_names_another_component(door: Door, tmp_path: Path) -> None:
    welcome = door.welcome("north")
    door.register("north")
    app = tmp_path / "mix-of-show"
    app.mkdir()
    ours = Path(str(files("mos_server.serving") / "flower-app")) / "pyproject.toml"
    named = ours.read_text().replace(
        "mos_client.federation.app:app", "mos_client.cli:app"
    )
    (app / "pyproject.toml").write_text(named)
    path = tmp_path / "north.welcome"
    path.write_bytes(welcome.to_bytes())
    door.superlink.submit(app)
    program = Program("client", "join", path, "--home", door.folder / "north")
    try:
        told = program.wait_for("app-refused")
    finally:
        program.kill()
    assert "mos_client.cli:app" in told["reason"]
