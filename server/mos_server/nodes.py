"""Flower's node keys: their two spellings, and the site that each belongs to."""

from collections.abc import Iterable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)

from mos_server.errors import CentreError
from mos_server.records import SiteRecord


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


def site_by_node_key(sites: Iterable[SiteRecord], shown: bytes) -> SiteRecord | None:
    """The site that enrolled the node key that a node has shown, under its newest key.

    None where no site did.
    """
    newest = [site for site in sites if not site.successor]
    try:
        wanted = openssh_form(shown)
        return next((s for s in newest if openssh_form(s.node_key) == wanted), None)
    except CentreError:
        return None
