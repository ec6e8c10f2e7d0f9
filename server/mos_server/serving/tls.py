"""The centre's own certificate authority and server certificate.

Sites trust the one CA that their welcome brought; no public authority is involved.
The CA's key never leaves the centre and its certificate stays the same for years; the
server certificate is issued anew whenever it lacks a host name, or has less than a
third of its life left.
"""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mos_protocol.signed.keys import PASSPHRASE_FILE_VARIABLE, check_private, passphrase
from mos_protocol.signed.private_pem import private_pem
from mos_runtime.files import read_whole, write_atomically
from mos_runtime.locking import locked
from mos_server.errors import CertificateError

_CA_LIFETIME: Final = datetime.timedelta(days=3650)
_SERVER_LIFETIME: Final = datetime.timedelta(days=397)
_RENEW_SHARE: Final = 1 / 3
_CLOCK_SKEW: Final = datetime.timedelta(days=1)
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")

Issuer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


@dataclass(frozen=True)
class Certificates:
    """PEM files of a TLS server."""

    ca: Path
    """The authority's certificate, which sites get with their welcome."""

    certificate: Path
    """The server's certificate."""

    key: Path
    """The server's private key, mode 0600."""


def ensure_certificates(
    folder: Path, hosts: Sequence[str], *, now: datetime.datetime | None = None
) -> Certificates:
    """Certificates that are good for `hosts` and for loopback, made where needed.

    Args:
        folder: Where they are kept, with the authority's key (mode 0600).
        hosts: DNS names and IP addresses that sites reach the centre by.
        now: With its time zone; the clock's where None.

    Raises:
        CertificateError: what lies there is not a certificate or a key of ours.
        StorageError: the folder cannot be written, or others can read a private key.
    """
    found = Certificates(
        folder / "ca.crt", folder / "server.crt", folder / "server.key"
    )
    moment = now or datetime.datetime.now(datetime.UTC)
    with locked(folder / ".lock"):
        issuer = _authority(found.ca, folder / "ca.key")
        wanted = {_general_name(host) for host in (*_LOCAL, *hosts)}
        check_private(found.key)
        if found.certificate.is_file() and found.key.is_file():
            current = _read_certificate(found.certificate)
            have = _names_of(current)
            if (
                wanted <= have
                and _lasts(current, moment)
                and _issued(current, issuer[0])
            ):
                return found
            wanted |= have
        key = ec.generate_private_key(ec.SECP384R1())
        certificate = _server_certificate(wanted, key, issuer, moment)
        write_atomically(found.key, private_pem(key), mode=0o600)
        write_atomically(found.certificate, certificate.public_bytes(Encoding.PEM))
    return found


def _authority(certificate: Path, key: Path) -> Issuer:
    if certificate.is_file() and key.is_file():
        return _read_certificate(certificate), _read_key(key)
    private = ec.generate_private_key(ec.SECP384R1())
    public = private.public_key()
    name = _name("Mix-of-Show centre")
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(public), critical=False
        )
        .sign(private, hashes.SHA384())
    )
    write_atomically(key, private_pem(private, passphrase()), mode=0o600)
    write_atomically(certificate, built.public_bytes(Encoding.PEM))
    return built, private


def _server_certificate(
    names: set[x509.GeneralName],
    key: ec.EllipticCurvePrivateKey,
    issuer: Issuer,
    now: datetime.datetime,
) -> x509.Certificate:
    authority, authority_key = issuer
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(
        authority_key.public_key()
    )
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    ordered = sorted(names, key=lambda name: (type(name).__name__, str(name.value)))
    return (
        x509.CertificateBuilder()
        .subject_name(_name("Mix-of-Show centre, server"))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(min(now + _SERVER_LIFETIME, authority.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName(ordered), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(purpose, critical=False)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA384())
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise CertificateError(
            f"host {host!r}: neither an IP address nor a DNS name in ASCII"
        ) from error


def _names_of(certificate: x509.Certificate) -> set[x509.GeneralName]:
    try:
        extension = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        return set()
    return set(extension.value)


def certificate_end(folder: Path) -> int | None:
    """When the server's certificate ends, Unix time; None where there is none.

    Raises:
        CertificateError: the file is not a certificate.
    """
    path = folder / "server.crt"
    if not path.is_file():
        return None
    return int(_read_certificate(path).not_valid_after_utc.timestamp())


def authority_fingerprint(folder: Path) -> str:
    """SHA-256 of the authority's certificate, 64 hexadecimal digits.

    Raises:
        MosError: there is none.
    """
    return _read_certificate(folder / "ca.crt").fingerprint(hashes.SHA256()).hex()


def _lasts(certificate: x509.Certificate, now: datetime.datetime) -> bool:
    end = certificate.not_valid_after_utc
    life = end - certificate.not_valid_before_utc
    return end - now > life * _RENEW_SHARE


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # the library raises several unrelated kinds
        return False
    return True


def _read_certificate(path: Path) -> x509.Certificate:
    content = read_whole(path, what="a certificate", max_bytes=2**20)
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError as error:
        raise CertificateError(
            f"{path}: not a certificate; delete its folder to have a new one, and send "
            "every site a new welcome"
        ) from error


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    check_private(path)
    content = read_whole(path, what="a private key", max_bytes=2**20)
    encrypted = b"ENCRYPTED PRIVATE KEY" in content
    try:
        key = load_pem_private_key(content, passphrase() if encrypted else None)
    except (ValueError, TypeError) as error:
        raise CertificateError(
            f"{path}: either not a private key, or it has a passphrase that "
            f"{PASSPHRASE_FILE_VARIABLE} does not name"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"{path}: not an ECDSA key")
    return key


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
