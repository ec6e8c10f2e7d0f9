"""`mos-server sites`, `revoke` and `withdraw`: who may send, and what is fused."""

from typing import Annotated, Any

import typer

from mos_runtime.console import console, print_json
from mos_server.commands.options import HomeOption, JsonOption


def sites(home: HomeOption = None, json: JsonOption = False) -> None:
    """List the sites, their concepts, and what was refused."""
    from mos_server.registry.home import CentreHome
    from mos_server.registry.registry import Registry

    registry = Registry(CentreHome.open(home))
    known, current = registry.membership.sites(), registry.bundles.current()
    refusals = registry.refusals.all()
    rows: list[dict[str, Any]] = [
        {
            "site": site.name,
            "key": site.key.raw.hex(),
            "revoked": site.revoked,
            "kept": site.kept,
            "admitted": site.admitted,
            "counter": site.counter,
            "concepts": [
                b.concept
                for b in current
                if b.site == site.name and (site.kept or not site.revoked)
            ],
            "refused": sum(r.sender == site.key.key_id for r in refusals),
        }
        for site in known
        if not site.successor
    ]
    if json:
        told = [
            {"sender": r.sender, "digest": r.digest, "reason": r.reason, "text": r.text}
            for r in refusals
        ]
        print_json({"sites": rows, "refusals": told})
        return
    _show(rows)
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
            help="Whether what it brought stays in the releases.",
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
    from mos_server.errors import RegistryError
    from mos_server.registry.home import CentreHome
    from mos_server.registry.registry import Registry

    site, slash, name = concept.partition("/")
    if not slash:
        raise RegistryError(f"{concept}: write it as SITE/CONCEPT")
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
    for heading in ("site", "state", "counter", "refused", "concepts"):
        table.add_column(heading)
    for row in rows:
        state = "revoked" if row["revoked"] else "admitted"
        state += ", concepts kept" if row["kept"] else ""
        cells = (row["site"], state, str(row["counter"]), str(row["refused"]))
        table.add_row(*map(Text, cells), Text(", ".join(row["concepts"])))
    console.print(table)
