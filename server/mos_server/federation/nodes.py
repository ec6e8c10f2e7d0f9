"""The site that each of Flower's node keys belongs to."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from mos_server.errors import RegistryError
from mos_server.registry.records import SiteRecord
from mos_server.registry.sites.node_keys import openssh_form


def sites_by_node_key(sites: Iterable[SiteRecord]) -> dict[bytes, SiteRecord]:
    """Node key, in OpenSSH form, -> the site that enrolled it, under its newest key.

    Where two sites have one key, it belongs to the first that is not revoked. A site
    whose node key cannot be read is left out; no node can show that one.
    """
    found: dict[bytes, SiteRecord] = {}
    for site in sorted(sites, key=lambda one: one.revoked):
        if not site.successor:
            with suppress(RegistryError):
                found.setdefault(openssh_form(site.node_key), site)
    return found


def site_of_node(known: Mapping[bytes, SiteRecord], shown: bytes) -> SiteRecord | None:
    """The site of a node that has shown a key; None where no site enrolled it."""
    try:
        return known.get(openssh_form(shown))
    except RegistryError:
        return None
