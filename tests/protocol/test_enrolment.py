"""The two files of an enrolment, and what is refused of them."""

import pytest

from mos_protocol import EnrolmentRequest, MalformedError, SignatureError, Welcome
from mos_protocol.encoding.armour import unwrap, wrap
from mos_protocol.encoding.canonical import parse, serialise
from mos_protocol.manifest_pb2 import Request
from mos_protocol.signed.envelope import REQUEST_TYPE, open_envelope, seal
from tests.protocol.simulator import BASE, CENTRE_KEY, NOW, SITE_KEY, STRANGER_KEY

LABEL = "MOS ENROLMENT REQUEST"
NODE_KEY = b"ecdsa-sha2-nistp384 AAAA"


def asked() -> EnrolmentRequest:
    return EnrolmentRequest.sign(
        site="north", key=SITE_KEY, node_key=NODE_KEY, created=NOW
    )


def welcome(**changes: object) -> Welcome:
    values = {
        "address": "centre.example.org:9092",
        "ca_certificate": b"-----BEGIN CERTIFICATE-----\n",
        "centre_key": CENTRE_KEY.public,
        "site": "north",
        "base": BASE,
    }
    return Welcome(**(values | changes))  # type: ignore[arg-type]


def test_request_comes_back_as_it_was_signed() -> None:
    found = EnrolmentRequest.verified(asked().to_bytes())
    assert found == asked()
    assert (found.site, found.node_key, found.created) == ("north", NODE_KEY, NOW)
    assert found.site_key == SITE_KEY.public


def test_welcome_comes_back() -> None:
    assert Welcome.from_bytes(welcome().to_bytes()) == welcome()


def test_text_survives_a_mail() -> None:
    mailed = b"\r\n  " + asked().to_bytes().replace(b"\n", b"\r\n  ") + b"\r\n"
    assert EnrolmentRequest.verified(mailed) == asked()


def test_request_with_another_name_is_refused() -> None:
    sealed = open_envelope(asked().envelope)
    changed = sealed.payload.replace(b"north", b"south")
    forged = asked().envelope.replace(sealed.payload, changed)
    assert forged != asked().envelope
    with pytest.raises(SignatureError, match="enrolment request"):
        EnrolmentRequest.verified(wrap(LABEL, forged))


def test_request_for_a_key_that_its_sender_does_not_hold_is_refused() -> None:
    message = parse(Request, open_envelope(asked().envelope).payload, "a request")
    forged = seal(serialise(message), REQUEST_TYPE, STRANGER_KEY)
    with pytest.raises(SignatureError):
        EnrolmentRequest.verified(wrap(LABEL, forged))


def test_request_signed_as_something_else_is_refused() -> None:
    payload = open_envelope(asked().envelope).payload
    with pytest.raises(SignatureError, match="signed as"):
        EnrolmentRequest.verified(wrap(LABEL, seal(payload, "text/plain", SITE_KEY)))


def test_welcome_shown_as_a_request_is_refused() -> None:
    with pytest.raises(MalformedError, match="not an enrolment request"):
        EnrolmentRequest.verified(welcome().to_bytes())


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"hello", bytes(2**20)])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(MalformedError, match="not an enrolment request"):
        EnrolmentRequest.verified(content)
    with pytest.raises(MalformedError, match="not a welcome"):
        Welcome.from_bytes(content)


def test_another_file_is_named_by_what_it_is() -> None:
    with pytest.raises(MalformedError, match="not a welcome, but a PNG picture; pass"):
        Welcome.from_bytes(b"\x89PNG\r\n\x1a\n rest")
    with pytest.raises(
        MalformedError, match="its first line says it is a MOS ENROLMENT REQUEST; pass"
    ):
        Welcome.from_bytes(asked().to_bytes())


def test_cut_text_is_refused_at_every_line() -> None:
    lines = asked().to_bytes().splitlines(keepends=True)
    for kept in range(len(lines)):
        with pytest.raises(MalformedError):
            EnrolmentRequest.verified(b"".join(lines[:kept]))
    for dropped in range(1, len(lines) - 1):
        with pytest.raises((MalformedError, SignatureError)):
            EnrolmentRequest.verified(b"".join(lines[:dropped] + lines[dropped + 1 :]))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "host",
        "host:",
        ":9092",
        "host:0",
        "host:65536",
        "a b:1",
        "::1:9092",
        "h:1\n",
    ],
)
def test_welcome_to_no_address_is_refused(address: str) -> None:
    with pytest.raises(MalformedError, match="host:port"):
        welcome(address=address).to_bytes()


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("localhost:9092", "localhost"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]:65535", "::1"),
    ],
)
def test_welcome_to_an_address_names_its_host(address: str, host: str) -> None:
    assert welcome(address=address).host == host
    assert Welcome.from_bytes(welcome(address=address).to_bytes()).address == address


@pytest.mark.parametrize(
    "changes", [{"site": "../up"}, {"base": "mini"}, {"base": "AB" * 32}]
)
def test_welcome_with_a_value_that_is_none_is_refused(
    changes: dict[str, object],
) -> None:
    with pytest.raises(MalformedError):
        welcome(**changes).to_bytes()


@pytest.mark.parametrize("node_key", [b"", bytes(2**15)])
def test_node_key_of_no_sensible_length_is_refused(node_key: bytes) -> None:
    with pytest.raises(MalformedError, match="node key"):
        EnrolmentRequest.sign(
            site="north", key=SITE_KEY, node_key=node_key, created=NOW
        )


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 1000])
def test_armour_comes_off(size: int) -> None:
    content = bytes(range(256)) * 4
    wrapped = wrap("MOS TEST", content[:size])
    assert max(len(line) for line in wrapped.splitlines()) <= 64
    assert unwrap("MOS TEST", wrapped, "a test") == content[:size]
