"""`mos-client releases`: what this site holds."""

import time
from typing import Annotated

import typer

from mos_client.commands.options import HomeOption, JsonOption
from mos_client.errors import StoreError
from mos_runtime.console import console, print_json


def releases(
    keep: Annotated[
        int | None, typer.Option(min=1, help="Keep this many from now on.")
    ] = None,
    expired: Annotated[
        str | None,
        typer.Option(
            metavar="warn|refuse",
            help="Warn when an expired release is used (default), or refuse to use it; "
            "stored.",
        ),
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """List the releases held, oldest first; each is verified as it is read."""
    from mos_client.store.freshness import day
    from mos_client.store.home import SiteHome
    from mos_client.store.releases import ReleaseStore, WhenExpired
    from mos_protocol.signed.release import release_facts

    store, now = ReleaseStore(SiteHome.open(home)), int(time.time())
    if keep is not None:
        store.set_keep(keep)
    if expired is not None:
        if expired not in tuple(WhenExpired):
            raise StoreError(f"--expired {expired!r:.40}: either warn or refuse")
        store.set_when_expired(WhenExpired(expired))
    held = []
    for version in store.versions():
        facts = release_facts(store.read(version).sealed().payload)
        held.append((store.path(version), facts))
    if json:
        rows = [
            {
                "version": facts.version,
                "file": str(path),
                "bytes": facts.payload_bytes,
                "created": facts.created,
                "expires": facts.expires,
                "expired": now >= facts.expires,
                "concepts": [concept.key for concept in facts.concepts],
            }
            for path, facts in held
        ]
        choices = {"keep": store.keep, "when_expired": store.when_expired}
        print_json({"releases": rows, **choices})
        return
    for path, facts in held:
        concepts = ", ".join(concept.key for concept in facts.concepts) or "no concept"
        state = "expired on" if now >= facts.expires else "good until"
        until = f"{state} {day(facts.expires)}"
        console.print(
            f"release {facts.version}: {concepts}; {until}; {path}",
            markup=False,
            soft_wrap=True,
        )
    if not held:
        console.print("no release yet; `mos-client join` receives them")
    use = "used with a warning"
    if store.when_expired is WhenExpired.REFUSE:
        use = "not used"
    console.print(f"the newest {store.keep} are kept; expired ones are {use}")
