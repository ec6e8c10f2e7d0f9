"""The rules by which the centre takes up a site's statement. No IO, no clock.

    size -> envelope -> signer is an enrolled site, not revoked -> signature -> kind,
    in the site's own name -> lifetime -> counter

The first one broken gives the reason. `admit_statement` returns or raises; it changes
nothing. Whether a concept is there to be withdrawn, the registry knows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mos_protocol.errors import AdmissionError, MalformedError, Reason, SignatureError
from mos_protocol.rules.admission import (
    AdmissionLimits,
    KnownSite,
    check_counter,
    signer_of,
)
from mos_protocol.rules.agreement import Refused, check_lifetime
from mos_protocol.signed.statement import (
    MAX_STATEMENT_BYTES,
    SignedStatement,
    Statement,
)


@dataclass(frozen=True)
class AdmittedStatement:
    """A statement that kept every rule."""

    signed: SignedStatement
    statement: Statement
    site: KnownSite
    """As it was known before this statement."""


def admit_statement(
    content: bytes,
    *,
    sites: Mapping[str, KnownSite],
    now: int,
    limits: AdmissionLimits | None = None,
) -> AdmittedStatement:
    """The statement in `content`, where it keeps every rule.

    Args:
        content: `SignedStatement.to_bytes()`, as received.
        sites: Every enrolled site by its key's id, revoked ones included.
        now: Unix time, seconds.
        limits: How late it may be, and how far its counter may step.

    Raises:
        AdmissionError: a rule is broken; `reason` says which kind, the text what.
    """
    try:
        return _admitted(content, sites, now, limits or AdmissionLimits())
    except Refused as refused:
        raise AdmissionError(refused.reason, str(refused)) from refused


def _admitted(
    content: bytes,
    sites: Mapping[str, KnownSite],
    now: int,
    limits: AdmissionLimits,
) -> AdmittedStatement:
    if len(content) > MAX_STATEMENT_BYTES:
        raise Refused(
            Reason.TOO_LARGE,
            f"{len(content)} bytes; a statement has at most {MAX_STATEMENT_BYTES}",
        )
    try:
        signed = SignedStatement.from_bytes(content)
        sealed = signed.sealed()
        site = signer_of(sealed, sites)
        statement = signed.verified(site.key)
    except SignatureError as error:
        raise Refused(Reason.BAD_SIGNATURE, str(error)) from error
    except MalformedError as error:
        raise Refused(Reason.MALFORMED, str(error)) from error
    if statement.site != site.name:
        raise Refused(
            Reason.UNKNOWN_SIGNER,
            f"signed for site {statement.site!r} by the key of site {site.name!r}",
        )
    skew = limits.max_clock_skew_seconds
    check_lifetime(statement.created, statement.expires, now=now, max_skew=skew)
    check_counter(statement.counter, site, limits.max_counter_step, what="statement")
    return AdmittedStatement(signed, statement, site)
