"""What an operator does, for the commands and the centre's page alike.

An admission is checked whole before anything is made or changed: request, base, quota,
address.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mos_model.bases.base_files import read_inventory
from mos_protocol.signed.enrolment import EnrolmentRequest, Welcome
from mos_server.errors import CentreError
from mos_server.registry.home import CentreHome
from mos_server.registry.records import TuneOrder
from mos_server.registry.registry import Registry
from mos_server.registry.sites.quotas import Quota
from mos_server.serving.tls import ensure_certificates


@dataclass(frozen=True)
class Admission:
    """A site's request, and what it is told in return."""

    request: bytes
    """What `mos-client enroll` wrote."""

    address: str
    """host:port at which the site reaches this centre."""

    base: str = "mini"
    """`mini`, a pipeline directory, or a hub name."""

    insecure: bool = False
    """Without TLS; on loopback only."""

    quota: str | None = None
    """As `Quota.parse` reads it; the default, or the present one, for None."""


@dataclass(frozen=True)
class Admitted:
    """A site that may send from now on."""

    request: EnrolmentRequest
    welcome: Welcome

    renewed: bool
    """Whether the server's certificate was made anew, to name the address too."""


def admit_site(admission: Admission, home: Path | None) -> Admitted:
    """Let a site in; admitting it again renews its welcome, and its quota if given.

    Args:
        admission: The request and what goes with it.
        home: The centre's; the default one for None. Made where it is missing.

    Raises:
        MosError: the request is none, or its name or keys are taken or were revoked; or
            the address, base or quota is none. Nobody is admitted.
    """
    allowed = None if admission.quota is None else Quota.parse(admission.quota)
    request = EnrolmentRequest.verified(admission.request)
    fingerprint = read_inventory(admission.base).base
    centre = CentreHome.open(home, create=True)
    key = centre.signing_key().public
    # Made once without a certificate: whatever is wrong with the address shows now.
    plain = Welcome(admission.address, b"", key, request.site, fingerprint)
    plain.to_bytes()
    if admission.insecure:
        _check_loopback(plain.host)
        authority, renewed = b"", False
    else:
        authority, renewed = _authority(centre, plain.host)
    welcome = Welcome(admission.address, authority, key, request.site, fingerprint)
    Registry(centre).membership.admit(
        request.site, request.site_key, request.node_key, quota=allowed
    )
    return Admitted(request, welcome, renewed)


def order_tuning(
    registry: Registry,
    concept: str,
    sites: Sequence[str] = (),
    *,
    steps: int = 0,
    rank: int = 0,
    seed: int = 0,
    now: int,
) -> tuple[TuneOrder, ...]:
    """Note that sites are to be asked to tune a concept.

    Args:
        registry: The centre's.
        concept: Name of the concept in the sites' policies.
        sites: Whom to ask; all admitted ones where empty.
        steps: Optimiser steps; 0 for the site's own.
        rank: LoRA rank; 0 for the site's own.
        seed: Random seed.
        now: Unix time, seconds.

    Raises:
        MosError: the concept's name is none, or a site is not active or has that order
            already.
    """
    admitted = [one.name for one in registry.membership.sites() if not one.revoked]
    return tuple(
        registry.orders.add(name, concept, steps=steps, rank=rank, seed=seed, now=now)
        for name in (sites or admitted)
    )


def _authority(centre: CentreHome, host: str) -> tuple[bytes, bool]:
    """The CA's certificate, and whether the server's was made anew for `host`."""
    before = centre.tls / "server.crt"
    old = before.read_bytes() if before.is_file() else None
    found = ensure_certificates(centre.tls, [host])
    renewed = old is not None and old != found.certificate.read_bytes()
    return found.ca.read_bytes(), renewed


def _check_loopback(host: str) -> None:
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise CentreError(
            f"--insecure with {host}: without TLS only loopback addresses are served; "
            "leave --insecure out"
        )
