"""Flower's node keys: one reader, and one form in which they are compared."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)

from mos_server.errors import RegistryError


def node_key(content: bytes) -> ec.EllipticCurvePublicKey:
    """The ECDSA key in either spelling: OpenSSH (as enrolled) or PEM (as in Flower).

    Raises:
        RegistryError: it is neither, or no elliptic-curve key.
    """
    try:
        if content.lstrip().startswith(b"-----BEGIN"):
            key = load_pem_public_key(content)
        else:
            key = load_ssh_public_key(content.strip())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RegistryError(f"a node's public key is not readable: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise RegistryError("a node's public key is not of an elliptic curve")
    return key


def openssh_form(content: bytes) -> bytes:
    """A node key as `flwr supernode register` reads it; equal keys, equal bytes.

    Raises:
        RegistryError: it is not a node key.
    """
    return node_key(content).public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def is_same_key(stored: bytes, openssh: bytes) -> bool:
    """Whether a stored node key, in any spelling, is one in OpenSSH form."""
    try:
        return openssh_form(stored) == openssh
    except RegistryError:
        return False
