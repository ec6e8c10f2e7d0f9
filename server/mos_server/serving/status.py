"""The status of a centre: its registry, its certificate, its live process."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import psutil

from mos_server.federation.names import ALIVE_FILE
from mos_server.federation.publishing import pending
from mos_server.registry.home import CentreHome
from mos_server.registry.records import SiteRecord, StoredBundle, TuneOrder
from mos_server.registry.registry import Registry
from mos_server.serving.tls import certificate_end
from mos_server.serving.watching import LiveFacts, is_serving

STALE_AFTER_SECONDS = 60.0
"""A ServerApp that has shown no life for so long is taken for dead."""


def centre_status(
    home: CentreHome, registry: Registry, live: LiveFacts | None = None
) -> dict[str, Any]:
    """What `mos-server status --json` prints.

    Args:
        home: The centre's.
        registry: Its memory.
        live: What is known of the process that serves; read from its file, where None,
            if one runs.

    Raises:
        MosError: the registry or a certificate cannot be read.
    """
    serving = live is not None or is_serving(home)
    facts = live or (LiveFacts.read(home.live_path) if serving else LiveFacts())
    current, newest = registry.bundles.current(), registry.published.newest()
    sites = [site for site in registry.membership.sites() if not site.successor]
    refusals, orders = registry.refusals.all(), registry.orders.all()
    return {
        "key": home.signing_key().public.key_id,
        "serving": serving,
        "healthy": serving and facts.ready and is_alive(home),
        "address": facts.address,
        "since": facts.since,
        "sites": [_site_status(site, facts, current) for site in sites],
        "concepts": [f"{bundle.site}/{bundle.concept}" for bundle in current],
        "refused": len(refusals),
        "release": newest
        and {
            "version": newest.version,
            "created": newest.created,
            "expires": newest.expires,
            "concepts": list(newest.concepts),
            "bytes": newest.size,
        },
        "due": pending(registry),
        "fusing": facts.fusing,
        "failure": facts.failure,
        "orders": sum(not order.answered for order in orders),
        "tuning": [
            {
                "site": order.site,
                "concept": order.concept,
                "state": order.state,
                "reason": order.error,
                "answered": order.answered,
            }
            for order in _latest(orders)
        ],
        "certificate_expires": certificate_end(home.tls),
        "counts": facts.counts,
    }


def _site_status(
    site: SiteRecord, facts: LiveFacts, current: Sequence[StoredBundle]
) -> dict[str, Any]:
    return {
        "site": site.name,
        "revoked": site.revoked,
        "connected": not site.revoked and site.name in facts.connected,
        "heard": facts.connected.get(site.name),
        "counter": site.counter,
        "concepts": [
            bundle.concept
            for bundle in current
            if bundle.site == site.name and (site.kept or not site.revoked)
        ],
    }


def _latest(orders: Iterable[TuneOrder]) -> list[TuneOrder]:
    """The newest order of every concept of every site."""
    return list({(order.site, order.concept): order for order in orders}.values())


def is_alive(home: CentreHome) -> bool:
    """Whether the ServerApp has shown itself of late."""
    path = home.flower / ALIVE_FILE
    try:
        return time.time() - path.stat().st_mtime < STALE_AFTER_SECONDS
    except OSError:
        return False


def has_ended(home: CentreHome) -> bool:
    """Whether the process of the ServerApp that last showed itself is gone."""
    try:
        pid = int((home.flower / ALIVE_FILE).read_text())
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except (OSError, ValueError, psutil.Error):
        return False  # not known; its silence will tell


def status_line(status: dict[str, Any]) -> str:
    """The same in one line, for people."""
    admitted = [site for site in status["sites"] if not site["revoked"]]
    here = [site["site"] for site in admitted if site["connected"]]
    who = f" ({', '.join(here[:5])}{', ...' if len(here) > 5 else ''})" if here else ""
    release = status["release"]
    version = f"release {release['version']}" if release else "no release yet"
    line = (
        f"{len(here)} of {len(admitted)} sites here{who}, "
        f"{len(status['concepts'])} concept(s), {version}"
    )
    if status["fusing"] is not None:
        line += f", fusing {status['fusing']:.0%}"
    elif status["failure"]:
        line += f", the last fusion failed: {status['failure']}"
    elif status["due"]:
        line += ", a new one is due"
    return line
