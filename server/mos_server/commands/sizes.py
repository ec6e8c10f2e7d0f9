"""`mos-server sizes`: what some concepts of a base come to, in bytes."""

from dataclasses import asdict
from typing import Annotated

import typer

from mos_runtime.console import console, print_json
from mos_server.commands.options import JsonOption

_MB = 1e6


def sizes(
    base: Annotated[
        str, typer.Option(help="A base, or sd15 for Stable Diffusion 1.5's shapes.")
    ] = "sd15",
    concepts: Annotated[int, typer.Option(min=1, help="Concepts of a release.")] = 14,
    rank: Annotated[int, typer.Option(min=1, help="Rank of each.")] = 4,
    json: JsonOption = False,
) -> None:
    """Print the sizes of bundles, a release and the centre's ledger.

    Files are written in their real formats, of zeros, and counted; no weights are read.
    """
    from mos_server.fusion.report.sizes import inventory_of
    from mos_server.fusion.report.sizes import sizes as measured

    found = measured(inventory_of(base), concepts=concepts, rank=rank)
    if json:
        print_json({"base": base, "concepts": concepts, "rank": rank, **asdict(found)})
        return
    what = f"{concepts} rank-{rank} concepts at the shapes of {base}"
    console.print(f"release of {what}: {found.release / _MB:.1f} MB, float16")
    console.print(f"bundle of one concept: {found.bundle / _MB:.1f} MB, float32")
    console.print(
        f"ledger: {found.ledger_sum / _MB:.1f} MB, and "
        f"{found.ledger_concept / _MB:.1f} MB for each concept"
    )
