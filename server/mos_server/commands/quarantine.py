"""`mos-server quarantine`: what is held, and the operator's decision on it."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mos_runtime.console import console, print_json
from mos_server.commands.options import HomeOption, JsonOption, site_and_concept

if TYPE_CHECKING:
    from mos_server.registry.records import LeftOutRecord
    from mos_server.registry.registry import Registry

NameArgument = Annotated[
    str, typer.Argument(metavar="SITE/CONCEPT", help="The bundle in quarantine.")
]

app = typer.Typer(
    help="Hold concepts; list, inspect, release or refuse what is held.",
    no_args_is_help=True,
)


@app.command(name="list")
def list_held(home: HomeOption = None, json: JsonOption = False) -> None:
    """List the bundles in quarantine."""
    registry = _registry(home)
    held = registry.quarantine.held()
    if json:
        print_json({"quarantine": [_facts(registry, one) for one in held]})
        return
    if not held:
        console.print("quarantine is empty")
    for one in held:
        day = datetime.fromtimestamp(one.decided, UTC).strftime("%Y-%m-%d %H:%M")
        line = f"{one.site}/{one.concept}  {day}  {one.text}"
        console.print(line, markup=False, soft_wrap=True)


@app.command()
def show(name: NameArgument, home: HomeOption = None, json: JsonOption = False) -> None:
    """Show why a bundle is held, and where its figures and pictures are."""
    registry = _registry(home)
    facts = _facts(registry, registry.quarantine.named(name))
    if json:
        print_json(facts)
        return
    for key in ("concept", "digest", "reason", "pictures", "figures"):
        console.print(f"{key}: {facts[key]}", markup=False, soft_wrap=True)


@app.command()
def hold(
    name: Annotated[
        str, typer.Argument(metavar="SITE/CONCEPT", help="A concept that is fused.")
    ],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Leave a concept out of the next release, until it is released or refused."""
    registry = _registry(home)
    registry.bundles.hold(*site_and_concept(name), int(time.time()))
    _say(registry.quarantine.named(name), "held", json=json)


@app.command()
def release(
    name: NameArgument, home: HomeOption = None, json: JsonOption = False
) -> None:
    """Publish a bundle in the next release; the gate does not hold it again."""
    one = _registry(home).quarantine.release(name)
    _say(one, "released; it is in the next release", json=json)


@app.command()
def refuse(
    name: NameArgument, home: HomeOption = None, json: JsonOption = False
) -> None:
    """Leave a bundle out for good; its site is notified."""
    one = _registry(home).quarantine.refuse(name)
    _say(one, "refused", json=json)


def _registry(home: Path | None) -> "Registry":
    from mos_server.registry.home import CentreHome
    from mos_server.registry.registry import Registry

    return Registry(CentreHome.open(home))


def _facts(registry: "Registry", one: "LeftOutRecord") -> dict[str, Any]:
    folder = registry.home.quarantine / one.digest
    return {
        "concept": f"{one.site}/{one.concept}",
        "digest": one.digest,
        "reason": one.text,
        "held": one.decided,
        "pictures": str(folder / "index.html"),
        "figures": str(folder / "figures.json"),
    }


def _say(one: "LeftOutRecord", what: str, *, json: bool) -> None:
    if json:
        facts = {"concept": f"{one.site}/{one.concept}", "digest": one.digest}
        print_json({**facts, "decision": one.reason})
        return
    console.print(f"{one.site}/{one.concept}: {what}", markup=False)
