"""What admission and trust have in common: a payload against its manifest and a base.

Each function raises `Refused`; the two callers turn that into the error of their own
side. The order in which they are called is given in `admission` and `trust`.
"""

from collections.abc import Mapping, Sequence

from mos_model.bases.inventory import Inventory
from mos_protocol.encoding.canonical import sha256
from mos_protocol.encoding.header import Header, read_header
from mos_protocol.encoding.tensors import TensorFacts, table
from mos_protocol.errors import MalformedError, Reason

Shapes = Mapping[str, tuple[int, ...]]


class Refused(Exception):
    """A rule is broken; never leaves this package."""

    def __init__(self, reason: Reason, text: str) -> None:
        """Broken for `reason`, told as `text`."""
        super().__init__(text)
        self.reason = reason


def check_lifetime(created: int, expires: int, *, now: int, max_skew: int) -> None:
    """Refuse what is not yet, or no longer, valid at `now` (Unix times, seconds)."""
    if now >= expires:
        raise Refused(Reason.EXPIRED, f"it expired {now - expires} s ago; renew it")
    if created > now + max_skew:
        raise Refused(
            Reason.EXPIRED,
            f"it was signed {created - now} s in the future: set the clocks of both "
            "machines",
        )


def check_base(base: str, inventory_base: str, label: str) -> None:
    """Refuse what was made for another base."""
    if base != inventory_base:
        known = f"{inventory_base[:12]} ({label})" if label else inventory_base[:12]
        raise Refused(
            Reason.WRONG_BASE, f"made for base {base[:12]}, in use here is base {known}"
        )


def check_tensors(tensors: Sequence[TensorFacts], expected: Shapes, what: str) -> None:
    """Refuse a manifest whose tensors are not exactly the expected ones."""
    found = {tensor.name: tensor.shape for tensor in tensors}
    for name, shape in expected.items():
        if name not in found:
            raise Refused(Reason.WRONG_INVENTORY, f"{what} lacks tensor {name}")
        if found[name] != shape:
            raise Refused(
                Reason.WRONG_INVENTORY,
                f"{name} has shape {found[name]!s:.60}; in {what} of this base it has "
                f"{shape}",
            )
    surplus = sorted(set(found) - set(expected))
    if surplus:
        raise Refused(
            Reason.WRONG_INVENTORY, f"{what} of this base has no tensor {surplus[0]}"
        )


def check_payload(
    payload: bytes,
    *,
    payload_sha256: str,
    payload_bytes: int,
    tensors: Sequence[TensorFacts],
) -> Header:
    """The payload's header, once every digest agrees with the manifest."""
    if len(payload) != payload_bytes:
        raise Refused(
            Reason.TAMPERED,
            f"{len(payload)} bytes of payload, {payload_bytes} were signed",
        )
    if sha256(payload) != payload_sha256:
        raise Refused(Reason.TAMPERED, "the payload is not the one that was signed")
    try:
        header = read_header(payload)
    except MalformedError as error:
        raise Refused(Reason.MALFORMED, str(error)) from error
    found = {tensor.name: tensor for tensor in table(payload, header.spans)}
    signed = {tensor.name: tensor for tensor in tensors}
    for name in sorted(found.keys() | signed.keys()):
        if found.get(name) != signed.get(name):
            raise Refused(
                Reason.TAMPERED, f"tensor {name} is not the one that was signed"
            )
    return header


def concept_shapes(inventory: Inventory, rank: int) -> Shapes:
    """Every tensor of a concept of this rank."""
    words = inventory.embedding_shapes()
    return inventory.lora_shapes(rank) | {
        f"embeddings.{name}": shape for name, shape in words.items()
    }


def release_shapes(inventory: Inventory, rank: int, keys: Sequence[str]) -> Shapes:
    """Every tensor of a release of this rank sum with these concepts (site/name)."""
    words = inventory.embedding_shapes()
    return inventory.lora_shapes(rank) | {
        f"concepts.{key}.{name}": shape for key in keys for name, shape in words.items()
    }
