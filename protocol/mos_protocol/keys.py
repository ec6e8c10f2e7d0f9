"""Ed25519 keys: a site's signs its bundles, the centre's its releases.

A key is known by its id, the SHA-256 of its 32 raw public bytes. Private keys live in
PEM files that only their owner can read; they never cross the wire.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mos_protocol.errors import MalformedError, SignatureError
from mos_shared.files import read_whole, write_atomically

_RAW_BYTES: Final = 32
_SHORT_DIGITS: Final = 12
_MAX_PEM_BYTES: Final = 64 * 2**10


@dataclass(frozen=True)
class VerifyKey:
    """A public Ed25519 key."""

    raw: bytes
    """The key as RFC 8032 encodes it, 32 bytes."""

    def __post_init__(self) -> None:
        """Refuse anything that is not 32 bytes."""
        if len(self.raw) != _RAW_BYTES:
            raise MalformedError(
                f"an Ed25519 public key has {_RAW_BYTES} bytes, not {len(self.raw)}"
            )

    @staticmethod
    def from_raw(raw: bytes) -> "VerifyKey":
        """The key of 32 raw bytes.

        Raises:
            MalformedError: there are not 32 of them.
        """
        return VerifyKey(raw)

    @property
    def key_id(self) -> str:
        """SHA-256 of the raw key, 64 hexadecimal digits."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def short(self) -> str:
        """The first 12 digits of the key's id, for people."""
        return self.key_id[:_SHORT_DIGITS]

    def verify(self, message: bytes, signature: bytes) -> None:
        """Return quietly where `signature` is this key's over `message`.

        Raises:
            SignatureError: it is not.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise SignatureError(
                f"the signature does not hold for key {self.short}: either the content "
                "was changed, or another key signed it"
            ) from error


@dataclass(frozen=True)
class SigningKey:
    """A private Ed25519 key."""

    private: Ed25519PrivateKey

    @staticmethod
    def generate() -> "SigningKey":
        """A new key from the system's randomness."""
        return SigningKey(Ed25519PrivateKey.generate())

    @staticmethod
    def from_pem(pem: bytes) -> "SigningKey":
        """The key of an unencrypted PKCS8 PEM.

        Raises:
            MalformedError: not PEM, encrypted, or another kind of key.
        """
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise MalformedError("not an unencrypted private key in PEM") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise MalformedError("a private key, but not an Ed25519 key")
        return SigningKey(private)

    def to_pem(self) -> bytes:
        """The key as unencrypted PKCS8 PEM; `from_pem(to_pem())` signs alike."""
        return self.private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )

    @property
    def public(self) -> VerifyKey:
        """The key that others verify with."""
        return VerifyKey(self.private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over `message`; equal messages give equal ones."""
        return self.private.sign(message)


def save_key(path: Path, key: SigningKey) -> None:
    """Write `key` to `path`, readable by its owner alone.

    Raises:
        StorageError: the file cannot be written.
    """
    write_atomically(path, key.to_pem(), mode=0o600)


def load_key(path: Path) -> SigningKey:
    """The signing key in `path`.

    Raises:
        StorageError: there is no such file, or it cannot be read.
        MalformedError: it holds no Ed25519 key.
    """
    content = read_whole(path, what="a signing key", max_bytes=_MAX_PEM_BYTES)
    try:
        return SigningKey.from_pem(content)
    except MalformedError as error:
        raise MalformedError(
            f"{path}: {error}; restore the file from a copy, or remove it and enrol "
            "again with a new key"
        ) from error
