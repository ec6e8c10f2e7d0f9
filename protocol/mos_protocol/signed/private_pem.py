"""Private keys as PKCS8 PEM, encrypted under a passphrase that is costly to guess.

PBES2 (RFC 8018) with scrypt (RFC 7914) and AES-256-CBC. `load_pem_private_key` of
cryptography reads it; what that library writes itself has 2,048 rounds of PBKDF2, which
stay readable. Each guess takes some 0.3 s and 128 MiB.
"""

import base64
import os
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

COST: Final = 2**17
"""scrypt's N, with r = 8 and p = 1: 128 N r bytes."""

_BLOCKS, _PARALLEL = 8, 1
_SEQUENCE, _OCTETS, _INTEGER = 0x30, 0x04, 0x02
_PBES2: Final = bytes.fromhex("06092a864886f70d01050d")
_SCRYPT: Final = bytes.fromhex("06092b06010401da47040b")
_AES_256_CBC: Final = bytes.fromhex("060960864801650304012a")
"""Object identifiers, in DER."""


def private_pem(
    key: Ed25519PrivateKey | EllipticCurvePrivateKey, passphrase: bytes | None = None
) -> bytes:
    """The PEM of a private key, encrypted where there is a passphrase."""
    if not passphrase:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    text = base64.b64encode(_encrypted(plain, passphrase))
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    label = b"ENCRYPTED PRIVATE KEY-----"
    return b"\n".join([b"-----BEGIN " + label, *lines, b"-----END " + label, b""])


def _encrypted(plain: bytes, passphrase: bytes) -> bytes:
    """EncryptedPrivateKeyInfo."""
    salt, initial = os.urandom(16), os.urandom(16)
    scrypt = Scrypt(salt=salt, length=32, n=COST, r=_BLOCKS, p=_PARALLEL)
    padder = PKCS7(algorithms.AES.block_size).padder()
    padded = padder.update(plain) + padder.finalize()
    cipher = Cipher(algorithms.AES(scrypt.derive(passphrase)), modes.CBC(initial))
    encryptor = cipher.encryptor()
    content = encryptor.update(padded) + encryptor.finalize()
    numbers = b"".join(_integer(n) for n in (COST, _BLOCKS, _PARALLEL))
    derivation = _SCRYPT + _der(_SEQUENCE, _der(_OCTETS, salt) + numbers)
    encryption = _AES_256_CBC + _der(_OCTETS, initial)
    schemes = _der(_SEQUENCE, derivation) + _der(_SEQUENCE, encryption)
    algorithm = _der(_SEQUENCE, _PBES2 + _der(_SEQUENCE, schemes))
    return _der(_SEQUENCE, algorithm + _der(_OCTETS, content))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + content


def _integer(number: int) -> bytes:
    return _der(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))
