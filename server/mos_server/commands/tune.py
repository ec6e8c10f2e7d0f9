"""`mos-server tune`: ask sites to tune a concept."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mos_runtime.console import console, print_json
from mos_server.commands.options import HomeOption, JsonOption

if TYPE_CHECKING:
    from mos_server.registry.records import TuneOrder


def tune(
    concept: Annotated[
        str | None, typer.Option(help="Name of the concept in the sites' policies.")
    ] = None,
    site: Annotated[
        list[str] | None,
        typer.Option(help="Site to ask; repeatable (default: all admitted)."),
    ] = None,
    steps: Annotated[
        int, typer.Option(min=0, help="Optimiser steps; 0: the site's own.")
    ] = 0,
    rank: Annotated[int, typer.Option(min=0, help="LoRA rank; 0: the site's.")] = 0,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Ask sites to tune on their own pictures; without --concept, list the orders.

    `mos-server serve` asks each site once it is connected. A site tunes only where its
    own policy allows it, and gives the reason where it does not. Outside its allowed
    hours it is asked again later.
    """
    import time

    from mos_server.registry.home import CentreHome
    from mos_server.registry.registry import Registry
    from mos_server.serving.operating import order_tuning

    registry = Registry(CentreHome.open(home))
    if concept is None:
        _show(registry.orders.all(), json=json)
        return
    orders = order_tuning(
        registry,
        concept,
        site or (),
        steps=steps,
        rank=rank,
        seed=seed,
        now=int(time.time()),
    )
    _show(orders, json=json)


def _show(orders: "tuple[TuneOrder, ...]", *, json: bool) -> None:
    if json:
        print_json({"orders": [_told(order) for order in orders]})
        return
    if not orders:
        console.print("nothing ordered yet; pass --concept")
    for order in orders:
        console.print(
            f"{order.site}/{order.concept}: {order.state}",
            markup=False,
            soft_wrap=True,
        )


def _told(order: "TuneOrder") -> dict[str, Any]:
    return {
        "number": order.number,
        "site": order.site,
        "concept": order.concept,
        "steps": order.steps,
        "ordered": order.ordered,
        "answered": order.answered,
        "error": order.error,
        "state": order.state,
    }
