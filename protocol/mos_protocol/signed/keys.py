"""Ed25519 keys: a site's signs its bundles, the centre's its releases.

A key is known by its id, the SHA-256 of its 32 raw public bytes. Private keys live in
PEM files that only their owner can read; they never cross the wire. Where the
environment names a passphrase (`MOS_KEY_PASSPHRASE`, or a file of it,
`MOS_KEY_PASSPHRASE_FILE`), new keys are encrypted with it, and encrypted ones opened.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mos_protocol.errors import MalformedError, SignatureError
from mos_protocol.signed.points import point_fault
from mos_protocol.signed.private_pem import private_pem
from mos_runtime.errors import StorageError
from mos_runtime.files import read_whole, write_atomically

PASSPHRASE_VARIABLE: Final = "MOS_KEY_PASSPHRASE"
PASSPHRASE_FILE_VARIABLE: Final = "MOS_KEY_PASSPHRASE_FILE"

_SHORT_DIGITS: Final = 12
_MAX_PEM_BYTES: Final = 64 * 2**10


@dataclass(frozen=True)
class VerifyKey:
    """A public Ed25519 key."""

    raw: bytes
    """The key as RFC 8032 encodes it, 32 bytes."""

    def __post_init__(self) -> None:
        """Refuse anything that is not a public key in its one encoding."""
        fault = point_fault(self.raw)
        if fault:
            raise MalformedError(fault)

    @staticmethod
    def from_raw(raw: bytes) -> "VerifyKey":
        """The key of 32 raw bytes.

        Raises:
            MalformedError: they are not a public key, or not in its one encoding.
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
    def from_pem(pem: bytes, passphrase: bytes | None = None) -> "SigningKey":
        """The key of a PKCS8 PEM.

        Args:
            pem: The file's content.
            passphrase: For an encrypted one; None for one that is not.

        Raises:
            MalformedError: not PEM, another passphrase, or another kind of key.
        """
        encrypted = b"ENCRYPTED PRIVATE KEY" in pem
        if encrypted and passphrase is None:
            raise MalformedError(
                f"the key has a passphrase; set {PASSPHRASE_FILE_VARIABLE} to a file "
                "that holds it, or pass --passphrase-file"
            )
        try:
            private = load_pem_private_key(pem, passphrase if encrypted else None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            why = "; or the passphrase is another one" if encrypted else ""
            raise MalformedError(f"not a private key in PEM{why}") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise MalformedError("a private key, but not an Ed25519 key")
        return SigningKey(private)

    def to_pem(self, passphrase: bytes | None = None) -> bytes:
        """The key as PKCS8 PEM; `from_pem(to_pem(p), p)` signs alike."""
        return private_pem(self.private, passphrase)

    @property
    def public(self) -> VerifyKey:
        """The key that others verify with."""
        return VerifyKey(self.private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over `message`; equal messages give equal ones."""
        return self.private.sign(message)


def passphrase() -> bytes | None:
    """What the environment says that private keys are encrypted with, if anything.

    Raises:
        StorageError: it names a file that cannot be read, or is empty.
    """
    said = os.environ.get(PASSPHRASE_VARIABLE)
    if said:
        return said.encode()
    named = os.environ.get(PASSPHRASE_FILE_VARIABLE)
    if not named:
        return None
    what = "the passphrase of the private keys"
    content = read_whole(Path(named), what=what, max_bytes=4096).rstrip(b"\r\n")
    if not content:
        raise StorageError(f"{named}: empty; {what} was expected there")
    return content


def use_passphrase_file(path: Path | None) -> None:
    """Name a passphrase's file to this process and all that it starts."""
    if path is not None:
        os.environ[PASSPHRASE_FILE_VARIABLE] = str(path.resolve())
        passphrase()


def check_private(path: Path) -> None:
    """Refuse a private key's file that others can read.

    Raises:
        StorageError: they can.
    """
    if os.name == "posix" and path.is_file() and path.stat().st_mode & 0o077:
        raise StorageError(
            f"{path}: others on this machine can read this private key; "
            f"`chmod 600 {path}`, and change the key if they may have"
        )


def save_key(path: Path, key: SigningKey) -> None:
    """Write `key` to `path`, readable by its owner alone.

    Encrypted, where the environment names a passphrase.

    Raises:
        StorageError: the file cannot be written, or the passphrase not be read.
    """
    write_atomically(path, key.to_pem(passphrase()), mode=0o600)


def load_key(path: Path) -> SigningKey:
    """The signing key in `path`.

    Raises:
        StorageError: there is no such file, it cannot be read, or others can read it.
        MalformedError: it holds no Ed25519 key, or has another passphrase.
    """
    check_private(path)
    content = read_whole(path, what="a signing key", max_bytes=_MAX_PEM_BYTES)
    try:
        return SigningKey.from_pem(content, passphrase())
    except MalformedError as error:
        if b"ENCRYPTED PRIVATE KEY" in content:
            raise MalformedError(f"{path}: {error}") from error
        raise MalformedError(
            f"{path}: {error}; restore the file from a copy, or remove it and enrol "
            "again with a new key"
        ) from error
