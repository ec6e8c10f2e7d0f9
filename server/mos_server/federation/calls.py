"""The one place where the centre signs what it asks, and verifies what it is answered.

A call is signed with the key that signs releases. An answer counts only if an admitted
site signed it, and where nodes are bound to sites, only if that node's own site did:
with its present key, or with the one before or after it while it changes keys.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from mos_protocol.errors import CallError, Reason
from mos_protocol.messages import PlainDict
from mos_protocol.signed.call import (
    Address,
    SignedCall,
    open_answer,
    sign_call,
    signer_of,
)
from mos_protocol.signed.keys import SigningKey
from mos_server.federation.carrier import Flight, Node, Reply
from mos_server.registry.keychain import endorsements
from mos_server.registry.registry import Registry


@dataclass(frozen=True)
class Answered:
    """An answer that was verified."""

    signer: str
    """Key id of the site that gave it."""

    values: PlainDict
    blob: bytes | None


class Calls:
    """Signs calls and opens answers."""

    def __init__(
        self, registry: Registry, run: int, *, now: Callable[[], float] = time.time
    ) -> None:
        """Calls of one run.

        Args:
            registry: Knows the sites' keys, and has the centre's own.
            run: Flower's id of the run.
            now: Unix time, seconds.
        """
        self._registry, self._run, self._now = registry, run, now
        self._key: tuple[int, SigningKey, tuple[bytes, ...]] | None = None

    def sign(
        self,
        node: Node,
        action: str,
        values: PlainDict | None,
        blob: bytes | None,
        *,
        ttl_seconds: float,
    ) -> SignedCall:
        """A call to one node.

        Raises:
            MosError: the centre's key cannot be read.
        """
        key, chain = self._signing_key()
        now = self._now()
        return sign_call(
            Address(node.node_id, self._run, action),
            values,
            blob,
            key=key,
            endorsements=chain,
            created=int(now),
            expires=math.ceil(now + ttl_seconds),
        )

    def open(self, node: Node, flight: Flight, reply: Reply) -> Answered:
        """The answer to a call.

        Raises:
            CallError: it is not this site's answer to this call.
        """
        signer = signer_of(reply.envelope)
        sites = {site.key.key_id: site for site in self._registry.membership.sites()}
        if signer not in sites:
            raise CallError(
                Reason.UNKNOWN_SIGNER,
                f"the answer is signed by key {signer[:12]}, which was never admitted",
            )
        following = {key: site.successor for key, site in sites.items()}
        line = {node.key_id, following.get(node.key_id, "")}
        line |= {older for older, newer in following.items() if newer == node.key_id}
        if node.key_id and signer not in line - {""}:
            raise CallError(
                Reason.UNKNOWN_SIGNER,
                f"the answer is signed by key {signer[:12]}, but the node of "
                f"{node.site} enrolled with {node.key_id[:12]}",
            )
        key = sites[signer].key
        values = open_answer(reply.envelope, reply.blob, call=flight.call, key=key)
        return Answered(signer, values, reply.blob)

    def _signing_key(self) -> tuple[SigningKey, tuple[bytes, ...]]:
        """The centre's key and its chain, read anew where the file has changed."""
        home = self._registry.home
        stamp = home.signing_key_path.stat().st_mtime_ns
        if self._key is None or self._key[0] != stamp:
            self._key = (stamp, home.signing_key(), endorsements(home))
        return self._key[1:]
