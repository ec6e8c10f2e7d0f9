"""`mos-server sites`, `revoke` and `withdraw`: who may send, and what is fused."""

import time
from typing import Annotated, Any

import typer

from mos_runtime.console import console, print_json
from mos_server.commands.options import HomeOption, JsonOption, site_and_concept


def sites(home: HomeOption = None, json: JsonOption = False) -> None:
    """List the sites, their concepts and quotas, and what was refused."""
    from mos_server.registry.home import CentreHome
    from mos_server.registry.registry import Registry
    from mos_server.serving.status import site_rows

    registry, now = Registry(CentreHome.open(home)), int(time.time())
    known, refusals = registry.membership.sites(), registry.refusals.all()
    rows = site_rows(registry, now)
    if json:
        refused_rows = [
            {"sender": r.sender, "digest": r.digest, "reason": r.reason, "text": r.text}
            for r in refusals
        ]
        print_json({"sites": rows, "refusals": refused_rows})
        return
    _show(rows)
    for row in rows:
        for one in row["left_out"]:
            line = f"{row['site']}/{one['concept']} is left out: {one['reason']}"
            console.print(line, markup=False)
    for refusal in refusals[-5:]:
        whom = next((s.name for s in known if s.key.key_id == refusal.sender), "?")
        line = f"refused from {whom}: {refusal.reason}: {refusal.text}"
        console.print(line, markup=False)


def revoke(
    name: Annotated[str, typer.Argument(help="The site's name.")],
    keep_concepts: Annotated[
        bool,
        typer.Option(
            "--keep-concepts/--withdraw-concepts",
            help="Keep its concepts in the releases.",
        ),
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Refuse whatever a site sends from now on.

    Its concepts leave the next release, or stay. A site revoked before may be named
    again, to withdraw what was kept.
    """
    from mos_server.registry.home import CentreHome
    from mos_server.registry.registry import Registry

    registry = Registry(CentreHome.open(home))
    registry.membership.revoke(name, keep_concepts=keep_concepts)
    if json:
        print_json({"revoked": name, "kept": keep_concepts})
        return
    if keep_concepts:
        console.print(f"site {name} is revoked; its concepts stay in the releases")
        return
    console.print(
        f"site {name} is revoked; its concepts leave the next release, copies that "
        "other sites hold stay there"
    )


def withdraw(
    concept: Annotated[str, typer.Argument(help="SITE/CONCEPT.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Leave a concept out of the next release; its site stays admitted."""
    from mos_server.registry.home import CentreHome
    from mos_server.registry.registry import Registry

    site, name = site_and_concept(concept)
    Registry(CentreHome.open(home)).bundles.withdraw(site, name)
    if json:
        print_json({"withdrawn": concept})
        return
    console.print(f"{concept} is left out of the next release", markup=False)


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not rows:
        console.print("no site yet; `mos-server admit` lets one in")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("site", "state", "counter", "refused", "quota used", "concepts"):
        table.add_column(heading)
    for row in rows:
        state = "revoked" if row["revoked"] else "admitted"
        state += ", concepts kept" if row["kept"] else ""
        counts = (str(row["counter"]), str(row["refused"]))
        cells = (row["site"], state, *counts, _used(row["used"], row["quota"]))
        table.add_row(*map(Text, cells), Text(", ".join(row["concepts"])))
    console.print(table)


def _used(used: dict[str, int], quota: dict[str, int]) -> str:
    return (
        f"{used['concepts']}/{quota['concepts']} concepts, "
        f"{used['bytes'] / 1e6:.1f}/{quota['megabytes']} MB, "
        f"{used['last_hour']}/{quota['per_hour']} in the last hour"
    )
