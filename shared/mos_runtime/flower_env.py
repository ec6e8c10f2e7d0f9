"""What every Flower process of ours is given: environment, programs, addresses.

Flower itself is not imported here.
"""

import errno
import ipaddress
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Final

from mos_runtime.errors import MosError

_SWITCHES: Final = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_COLOR": "1",
    # OpenMP's threads spin while they wait; on busy cores that costs a hundredfold.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Flower's executor asks for the next task this often; a second by default.
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.3",
}


_MOST_PORT: Final = 65535


class AddressError(MosError):
    """An address is not HOST:PORT, or may not be used in that way."""


def flower_environment(folder: Path, **extra: str) -> dict[str, str]:
    """The environment of a Flower process.

    Nothing phones home, nothing is installed, Flower's own files stay in `folder`,
    and the programs that Flower starts by name are those beside our interpreter.

    Args:
        folder: Flower's home (`FLWR_HOME`); created where it is missing.
        extra: Further variables.
    """
    folder.mkdir(parents=True, exist_ok=True)
    programs = str(Path(sys.executable).parent)
    path = os.pathsep.join([programs, os.environ.get("PATH", "")])
    return {
        **os.environ,
        **_SWITCHES,
        "FLWR_HOME": str(folder.resolve()),
        "PATH": path,
        **extra,
    }


def flower_program(name: str) -> str:
    """The path of one of Flower's programs, the one beside our interpreter.

    Raises:
        MosError: this installation has no such program.
    """
    own = shutil.which(name, path=str(Path(sys.executable).parent))
    found = own or shutil.which(name)
    if found is None:
        raise MosError(
            f"{name}: not installed; install flwr[simulation] into this environment"
        )
    return found


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT"; an IPv6 host stands in brackets.

    Raises:
        AddressError: it is not of that form, or the port is out of range.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal():
        raise AddressError(f"address {address!r}: write it as HOST:PORT")
    if not 0 < int(port) <= _MOST_PORT:
        raise AddressError(
            f"address {address!r}: port {port} is out of range; from 1 to {_MOST_PORT}"
        )
    return host, int(port)


def check_listening(address: str, *, option: str = "--address") -> None:
    """Refuse an address that this machine cannot listen on now.

    Args:
        address: HOST:PORT.
        option: What it was given by, for the message.

    Raises:
        AddressError: the port is in use or not allowed, or the host is not this
            machine's.
    """
    host, port = split_address(address)
    try:
        family, kind, _, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            # Servers that share a port bind it too; only one can listen without that.
            probe.listen()
    except OSError as error:
        way = f"choose another with {option}"
        if error.errno == errno.EADDRINUSE:
            raise AddressError(f"port {port} is in use on {host}; {way}") from error
        if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
            raise AddressError(
                f"{host} is not an address of this machine; {way}, 0.0.0.0 for all"
            ) from error
        reason = error.strerror or error
        raise AddressError(f"cannot listen on {address}: {reason}; {way}") from error


def is_loopback(host: str) -> bool:
    """Whether `host` can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
