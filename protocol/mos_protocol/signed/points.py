r"""Which 32 bytes are the public key of somebody who holds a private one.

Ed25519 (RFC 8032) is the curve -x^2 + y^2 = 1 + d x^2 y^2 over GF(p). A key is y,
little endian, with the sign of x in its highest bit. Signatures of a point whose order
divides 8 (the cofactor) can be made without any private key, so those points are no
keys. A key has one encoding (y < p), so that equal keys are equal bytes.
"""

from functools import lru_cache
from typing import Final

KEY_BYTES: Final = 32
_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P


@lru_cache(maxsize=1024)
def point_fault(raw: bytes) -> str:
    """Why 32 bytes are no Ed25519 public key; "" where they are one."""
    if len(raw) != KEY_BYTES:
        return (
            f"an Ed25519 public key has {KEY_BYTES} bytes ({2 * KEY_BYTES} hexadecimal "
            f"digits), not {len(raw)}"
        )
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _P:
        return "not the one encoding of an Ed25519 public key"
    square = y * y % _P
    # x^2 = (y^2 - 1) / (d y^2 + 1) has to be a square: Euler's criterion, and u/v is
    # one exactly where u v is.
    product = (square - 1) * (_D * square + 1) % _P
    if product and pow(product, (_P - 1) // 2, _P) != 1:
        return "not a point of the Ed25519 curve"
    # Orders 1 and 2 have y^2 = 1, order 4 has y = 0, and order 8 doubles to y = 0.
    if y * (square - 1) * (_D * square * square + 2 * square - 1) % _P == 0:
        return "an Ed25519 point of low order, for which anybody can sign"
    return ""
