"""The admission desk: where the rules of admission meet the registry.

Whatever comes, bundle or statement, is either accepted or refused, and either is
recorded before anyone is notified. A bundle never raises here; a full disk does.
"""

import time
from collections.abc import Mapping

from mos_model.bases.inventory import Inventory
from mos_protocol.errors import AdmissionError, ProtocolError
from mos_protocol.messages import Verdict
from mos_protocol.rules.admission import Admission, AdmissionLimits, KnownSite
from mos_protocol.rules.statement_admission import admit_statement
from mos_protocol.signed.blob import STATEMENT_MAGIC
from mos_protocol.signed.bundle import Bundle
from mos_server.registry.registry import Registry


class Desk:
    """Admits or refuses bundles for one base; may be used by several threads."""

    def __init__(
        self,
        registry: Registry,
        inventory: Inventory,
        limits: AdmissionLimits | None = None,
    ) -> None:
        """A desk.

        Args:
            registry: Where verdicts are recorded.
            inventory: Names and shapes of the base that concepts must fit.
            limits: How large, wild or late a bundle may be.
        """
        self._registry = registry
        self._limits = limits or AdmissionLimits()
        self._admission = Admission(inventory, self._limits)

    def receive(
        self,
        content: bytes,
        *,
        sender_key_id: str | None = None,
        now: int | None = None,
        offered: str | None = None,
    ) -> Verdict:
        """Admit or refuse what came, and record it.

        Args:
            content: `Bundle.to_bytes()`, `SignedStatement.to_bytes()`, or whatever
                it is.
            sender_key_id: The site that brought it, as far as the transport has
                authenticated it; a refusal is sent to that site alone.
            now: Unix time, seconds; the clock's where None.
            offered: The digest it was offered under; a refusal names it even where the
                bundle itself can no longer be read.

        Returns:
            What the sender learns: accepted, or refused as "reason: words".

        Raises:
            MosError: the verdict cannot be recorded (a full disk, a broken registry);
                nothing has changed.
        """
        moment = int(time.time()) if now is None else now
        sites = self._registry.membership.known()
        try:
            digest = self._accepted(content, sites, moment)
        except AdmissionError as refusal:
            digest = offered or _digest_of(content)
            self._registry.refusals.add(
                content,
                refusal.reason,
                str(refusal),
                moment,
                sender=sender_key_id or "",
                digest=digest,
            )
            return Verdict(digest, False, f"{refusal.reason}: {refusal}")
        return Verdict(digest, True, "")

    def _accepted(
        self, content: bytes, sites: Mapping[str, KnownSite], now: int
    ) -> str:
        """The digest of what kept every rule, and is recorded."""
        if content.startswith(STATEMENT_MAGIC):
            stated = admit_statement(content, sites=sites, now=now, limits=self._limits)
            self._registry.statements.take(stated, now)
            return stated.signed.digest
        admitted = self._admission.admit(content, sites=sites, now=now)
        self._registry.bundles.accept(admitted, now)
        return admitted.bundle.digest


def _digest_of(content: bytes) -> str:
    """What an unverified bundle calls itself; "" where that cannot be read."""
    try:
        return Bundle.from_bytes(content, max_bytes=len(content)).digest
    except ProtocolError:
        return ""
