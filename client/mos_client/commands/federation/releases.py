"""`mos-client releases`: what this site holds."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from mos_client.commands.options import HomeOption, JsonOption
from mos_runtime.console import console, print_json


def releases(
    keep: Annotated[
        int | None, typer.Option(min=1, help="Keep this many from now on.")
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """List the releases held, oldest first; each is verified as it is read."""
    from mos_client.store.home import SiteHome
    from mos_client.store.releases import ReleaseStore
    from mos_protocol.signed.release import release_facts

    store = ReleaseStore(SiteHome.open(home))
    if keep is not None:
        store.set_keep(keep)
    held = []
    for version in store.versions():
        facts = release_facts(store.read(version).sealed().payload)
        held.append((store.path(version), facts))
    if json:
        told = [
            {
                "version": facts.version,
                "file": str(path),
                "bytes": facts.payload_bytes,
                "created": facts.created,
                "expires": facts.expires,
                "concepts": [concept.key for concept in facts.concepts],
            }
            for path, facts in held
        ]
        print_json({"releases": told, "keep": store.keep})
        return
    for path, facts in held:
        concepts = ", ".join(concept.key for concept in facts.concepts) or "no concept"
        until = datetime.fromtimestamp(facts.expires, UTC).strftime("%Y-%m-%d")
        console.print(
            f"release {facts.version}: {concepts}; good until {until}; {path}",
            markup=False,
            soft_wrap=True,
        )
    if not held:
        console.print("no release yet; `mos-client join` receives them")
    console.print(f"the newest {store.keep} are kept")
