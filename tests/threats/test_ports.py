"""Every port that `serve` and `join` open, and what another account gets there.

Real processes. The threat model's table of ports is this test's expectation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.accounts import NEEDS_ROOT, NOBODY, http_status
from tests.support.federation import Federation
from tests.support.programs import Program

pytestmark = pytest.mark.slow

PATHS = ("/health", "/", "/flwr.proto.Control/ListRuns", "/v1/control/runs")


@dataclass(frozen=True)
class Port:
    host: str
    number: int
    program: str


def ports_of(program: Program) -> set[Port]:
    """What `ss -ltnp` shows of a program and all that it has started."""
    return {
        Port(
            one.laddr.ip.removeprefix("::ffff:"),
            one.laddr.port,
            " ".join(process.cmdline()[1:3]),
        )
        for process in program.family()
        for one in process.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN
    }


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Federation.running(tmp_path_factory.mktemp("ports")) as made:
        made.admit("north")
        made.join("north").wait_for("connected")
        yield made


@NEEDS_ROOT
@pytest.mark.parametrize("name", ["centre", "north"])
def test_no_port_but_the_fleets_serves_another_account(
    federation: Federation, name: str
) -> None:
    fleet = int(federation.address.rpartition(":")[2])
    ports = ports_of(federation.programs[name])
    assert {port.host for port in ports} == {"127.0.0.1"}
    print(sorted((port.number, port.program) for port in ports))
    assert (fleet in {port.number for port in ports}) == (name == "centre")
    (private,) = (port for port in ports if port.number != fleet)
    check_refused(private, tls=name == "centre")


def check_refused(port: Port, **given: Any) -> None:
    for path in PATHS:
        for method in ("GET", "POST"):
            told = http_status(port.number, method, path, account=NOBODY, **given)
            assert told == 403


def test_no_file_of_either_home_is_open_to_other_accounts(
    federation: Federation,
) -> None:
    """Unix sockets and whatever Flower leaves there included."""
    for home in (federation.centre_home, federation.home("north").folder):
        assert Path(home).stat().st_mode & 0o077 == 0
