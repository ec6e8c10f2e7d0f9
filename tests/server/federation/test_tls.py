"""The centre's certificates, used for a handshake."""

import datetime
import ssl
from pathlib import Path

import pytest

from mos_server.errors import CertificateError
from mos_server.serving.tls import Certificates, certificate_end, ensure_certificates
from tests.support.disk import snapshot


def shaken_hands(found: Certificates, host: str) -> bool:
    """Whether a client that trusts the CA alone accepts the server as `host`."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(found.certificate, found.key)
    client = ssl.create_default_context(cafile=str(found.ca))
    ends = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in range(2)]
    one = server.wrap_bio(*ends[0], server_side=True)
    other = client.wrap_bio(*ends[1], server_hostname=host)
    for _ in range(4):
        for party, mine, theirs in ((other, 1, 0), (one, 0, 1)):
            try:
                party.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError:
                return False
            ends[theirs][0].write(ends[mine][1].read())
    return other.version() is not None


def test_sites_that_trust_the_ca_accept_the_server(tmp_path: Path) -> None:
    found = ensure_certificates(tmp_path, ["centre.example", "192.0.2.7"])
    for host in ("centre.example", "192.0.2.7", "localhost", "127.0.0.1"):
        assert shaken_hands(found, host), host
    assert not shaken_hands(found, "other.example")


def test_private_keys_are_their_owners_alone(tmp_path: Path) -> None:
    found = ensure_certificates(tmp_path, [])
    for path in (found.key, tmp_path / "ca.key"):
        assert path.stat().st_mode & 0o777 == 0o600, path


def test_certificates_that_serve_are_kept(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, ["centre.example"])
    before = snapshot(tmp_path)
    ensure_certificates(tmp_path, ["centre.example"])
    assert snapshot(tmp_path) == before


def test_new_host_is_added_under_the_same_ca(tmp_path: Path) -> None:
    old = ensure_certificates(tmp_path, ["centre.example"])
    authority = old.ca.read_bytes()
    found = ensure_certificates(tmp_path, ["second.example"])
    assert found.ca.read_bytes() == authority
    assert shaken_hands(found, "centre.example")
    assert shaken_hands(found, "second.example")


def test_file_that_is_no_certificate_is_not_overwritten(tmp_path: Path) -> None:
    found = ensure_certificates(tmp_path, [])
    found.ca.write_text("no")
    before = snapshot(tmp_path)
    with pytest.raises(CertificateError, match="not a certificate"):
        ensure_certificates(tmp_path, [])
    assert snapshot(tmp_path) == before


def test_host_that_cannot_be_named_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="neither an IP address nor"):
        ensure_certificates(tmp_path, ["münchen.example"])


def test_certificate_is_renewed_when_a_third_of_its_life_is_left(
    tmp_path: Path,
) -> None:
    old = ensure_certificates(tmp_path, ["centre.example"])
    content, authority = old.certificate.read_bytes(), old.ca.read_bytes()
    today = datetime.datetime.now(datetime.UTC)
    earlier = today + datetime.timedelta(days=250)
    ensure_certificates(tmp_path, ["centre.example"], now=earlier)
    assert old.certificate.read_bytes() == content
    end = certificate_end(tmp_path)
    later = today + datetime.timedelta(days=300)
    ensure_certificates(tmp_path, ["centre.example"], now=later)
    assert old.certificate.read_bytes() != content
    renewed = certificate_end(tmp_path)
    assert end is not None
    assert renewed is not None
    assert renewed > end
    assert old.ca.read_bytes() == authority  # what sites trust stays the same
