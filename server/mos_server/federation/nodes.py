"""Flower's node keys: their two spellings, and the site that each belongs to."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)

from mos_server.errors import CentreError
from mos_server.registry.records import SiteRecord


def node_key(content: bytes) -> ec.EllipticCurvePublicKey:
    """The ECDSA key in either spelling: OpenSSH (as enrolled) or PEM (as in Flower).

    Raises:
        CentreError: it is neither, or no elliptic-curve key.
    """
    try:
        if content.lstrip().startswith(b"-----BEGIN"):
            key = load_pem_public_key(content)
        else:
            key = load_ssh_public_key(content.strip())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CentreError(f"a node's public key is not readable: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CentreError("a node's public key is not of an elliptic curve")
    return key


def openssh_form(content: bytes) -> bytes:
    """A node key as `flwr supernode register` wants it."""
    return node_key(content).public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def sites_by_node_key(sites: Iterable[SiteRecord]) -> dict[bytes, SiteRecord]:
    """Node key, in OpenSSH form, -> the site that enrolled it, under its newest key.

    A site whose node key cannot be read is left out; no node can show that one.
    """
    found: dict[bytes, SiteRecord] = {}
    for site in sites:
        if not site.successor:
            with suppress(CentreError):
                found.setdefault(openssh_form(site.node_key), site)
    return found


def site_of_node(known: Mapping[bytes, SiteRecord], shown: bytes) -> SiteRecord | None:
    """The site of a node that has shown a key; None where no site enrolled it."""
    try:
        return known.get(openssh_form(shown))
    except CentreError:
        return None
