"""Addresses that cannot be listened on: the reason and the option."""

import socket

import pytest

from mos_runtime.flower_env import (
    AddressError,
    check_listening,
    free_port,
    split_address,
)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:99999", "port 99999 is out of range; from 1 to 65535"),
        ("127.0.0.1:0", "port 0 is out of range"),
        ("127.0.0.1", "write it as HOST:PORT"),
        ("127.0.0.1:http", "write it as HOST:PORT"),
        (":9092", "write it as HOST:PORT"),
    ],
)
def test_address_that_is_none_is_refused_with_the_reason(
    address: str, reason: str
) -> None:
    with pytest.raises(AddressError, match=reason):
        split_address(address)


@pytest.mark.parametrize("shared", [False, True])
def test_port_in_use_is_refused_even_where_its_holder_shares_it(shared: bool) -> None:
    with socket.socket() as holder:
        if shared:  # as gRPC's servers do
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(AddressError, match=r"in use .* another with --address"):
            check_listening(f"127.0.0.1:{port}")
    check_listening(f"127.0.0.1:{port}")


def test_address_of_another_machine_is_refused() -> None:
    with pytest.raises(AddressError, match="not an address of this machine"):
        check_listening(f"192.0.2.1:{free_port()}")


def test_free_port_is_accepted_on_every_interface() -> None:
    for host in ("127.0.0.1", "localhost", "0.0.0.0"):
        check_listening(f"{host}:{free_port()}")
