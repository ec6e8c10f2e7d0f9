"""A site that does not reach its centre is told why, in one line, and the way out."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.proto.fleet_pb2_grpc import FleetStub
from flwr.supercore.retry import make_simple_grpc_retry_invoker

from mos_client.cli import app
from mos_client.federation.events import SITE_EVENTS
from mos_client.federation.supernode_contact import (
    Contact,
    reason_of,
    why_not_connected,
)
from mos_client.store.home import SiteHome
from mos_runtime.flower_env import free_port
from mos_runtime.journal import JournalReader
from mos_server.serving.tls import Certificates, ensure_certificates
from tests.support.sites import Centre
from tests.support.typing_in import type_in


@dataclass
class Doors:
    """Where centres listen: with TLS, in plain text, and one that is not there."""

    tls: str
    plain: str
    closed: str
    own: Certificates
    foreign: Certificates


def listen(credentials: Any, *, host: str = "127.0.0.1") -> tuple[Any, str]:
    server, address = grpc.server(ThreadPoolExecutor(2)), f"{host}:{free_port()}"
    if credentials is None:
        server.add_insecure_port(address)
    else:
        server.add_secure_port(address, credentials)
    server.start()
    return server, address


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("doors")
    own, foreign = (ensure_certificates(folder / n, ["127.0.0.1"]) for n in "ab")
    pair = (own.key.read_bytes(), own.certificate.read_bytes())
    secured, tls = listen(grpc.ssl_server_credentials([pair]))
    open_to_all, plain = listen(None)
    yield Doors(tls, plain, f"127.0.0.1:{free_port()}", own, foreign)
    secured.stop(None)
    open_to_all.stop(None)


def refusal(address: str, authority: Certificates | None) -> Any:
    """The error of one call of the Fleet API, as Flower's retries see it."""
    options = (("grpc.enable_retries", 0),)
    if authority is None:
        channel = grpc.insecure_channel(address, options)
    else:
        trusted = grpc.ssl_channel_credentials(authority.ca.read_bytes())
        channel = grpc.secure_channel(address, trusted, options)
    with channel, pytest.raises(grpc.RpcError) as refused:
        FleetStub(channel).ActivateNode(ActivateNodeRequest(), timeout=60)
    return refused.value


def told(error: Any, address: str, *, tls: bool) -> str:
    return why_not_connected(
        error.code().name, error.details(), address=address, tls=tls
    )


def test_plain_text_to_a_tls_centre_names_the_missing_certificate(doors: Doors) -> None:
    reason = told(refusal(doors.tls, None), doors.tls, tls=False)
    assert f"{doors.tls} does not take plain text" in reason
    assert "ask the centre's people for a new one" in reason


def test_tls_to_a_plain_centre_names_its_option(doors: Doors) -> None:
    reason = told(refusal(doors.plain, doors.own), doors.plain, tls=True)
    assert "speaks plain text" in reason
    assert "--insecure" in reason


def test_certificate_of_another_authority_is_told(doors: Doors) -> None:
    reason = told(refusal(doors.tls, doors.foreign), doors.tls, tls=True)
    assert "not of the authority in this site's welcome" in reason


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is Linux's alone")
def test_certificate_for_another_host_is_told(tmp_path: Path) -> None:
    own = ensure_certificates(tmp_path, ["centre.example.org"])
    pair = (own.key.read_bytes(), own.certificate.read_bytes())
    server, address = listen(grpc.ssl_server_credentials([pair]), host="127.0.0.2")
    try:
        reason = told(refusal(address, own), address, tls=True)
    finally:
        server.stop(None)
    assert f"the certificate shown at {address} is for another host name" in reason
    assert "--host" in reason


@pytest.mark.parametrize("tls", [True, False])
def test_closed_port_is_told(doors: Doors, tls: bool) -> None:
    error = refusal(doors.closed, doors.own if tls else None)
    assert f"nothing listens at {doors.closed}" in told(error, doors.closed, tls=tls)


def test_name_that_the_network_does_not_know_is_told(doors: Doors) -> None:
    address = "no-such-centre.invalid:9092"
    assert "is not known" in told(refusal(address, doors.own), address, tls=True)


@pytest.mark.parametrize(
    ("code", "details", "words"),
    [
        ("FAILED_PRECONDITION", '{"public": "Failed to activate SuperNode."}', "copy"),
        ("FAILED_PRECONDITION", "Failed to activate: unknown node key", "sites"),
        ("UNAUTHENTICATED", "Invalid node ID: unknown node key", "sites"),
        ("UNAUTHENTICATED", "Invalid node ID: revoked node key", "revoked"),
        ("UNAUTHENTICATED", "Invalid timestamp", "clock"),
        ("UNAUTHENTICATED", "Invalid node ID", "by itself"),
        ("UNIMPLEMENTED", "Method not found!\x1b[2J", "answered UNIMPLEMENTED"),
        ("UNAVAILABLE", "x" * 5000, "cannot be reached"),
    ],
)
def test_every_reason_is_one_printable_line(
    code: str, details: str, words: str
) -> None:
    reason = why_not_connected(code, details, address="centre:9092", tls=True)
    assert words in reason
    assert reason.isprintable()
    assert len(reason) < 500


@pytest.mark.parametrize(
    "code", ["PERMISSION_DENIED", "CANCELLED", "DEADLINE_EXCEEDED"]
)
def test_what_says_nothing_of_the_connection_is_not_told(code: str) -> None:
    assert why_not_connected(code, "anything", address="centre:9092", tls=True) == ""


def test_reason_is_told_once_stands_in_the_status_and_goes_with_the_next_success(
    doors: Doors, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = SiteHome.open(tmp_path / "site", create=True)
    Centre.at(tmp_path / "centre").enrol(home, "north")
    journal = home.flower / "journal.jsonl"
    contact = Contact(journal, address=doors.tls, tls=True)
    invoker = make_simple_grpc_retry_invoker()
    invoker.recoverable_exceptions = grpc.RpcError
    contact.follow(invoker)
    for _ in range(2):
        with pytest.raises(grpc.RpcError):
            invoker.invoke(call_with, doors.tls, doors.foreign)
    (event,) = JournalReader(journal, SITE_EVENTS).new()
    assert event.kind == "not-connected"
    assert reason_of(home.flower) == event.facts["reason"]
    assert type_in(app, "status", "--home", home.folder) == 0
    shown = capsys.readouterr().err
    assert f"not connected: {event.facts['reason']}" in shown.replace("\n", " ")
    assert invoker.invoke(lambda: "an answer") == "an answer"
    later = JournalReader(journal, SITE_EVENTS).new()[1:]
    assert [one.kind for one in later] == ["connected"]
    assert reason_of(home.flower) == ""
    assert type_in(app, "status", "--home", home.folder) == 0
    assert "not connected" not in capsys.readouterr().err


def call_with(address: str, authority: Certificates) -> None:
    trusted = grpc.ssl_channel_credentials(authority.ca.read_bytes())
    with grpc.secure_channel(address, trusted) as channel:
        FleetStub(channel).ActivateNode(ActivateNodeRequest(), timeout=60)
