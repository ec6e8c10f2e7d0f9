"""`mos-client withdraw`: take a concept back."""

from typing import Annotated

import typer

from mos_client.commands.options import HomeOption, JsonOption
from mos_runtime.console import console, print_json


def withdraw(
    concept: Annotated[str, typer.Argument(help="The concept's name.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Ask the centre to drop a concept of this site from the next release.

    The request is signed, and goes out with `mos-client join`. Releases that others
    hold already keep the concept.
    """
    from mos_client.store.home import SiteHome
    from mos_client.store.requests import Requests

    entry = Requests(SiteHome.open(home)).withdraw(concept)
    if json:
        print_json({"concept": concept, "counter": entry.counter})
        return
    console.print(
        f"<{concept}> is to be withdrawn; `mos-client join` tells the centre, and the "
        "next release is without it",
        markup=False,
    )
