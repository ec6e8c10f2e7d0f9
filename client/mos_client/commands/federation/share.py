"""`mos-client share`: sign a concept that is here already."""

from pathlib import Path
from typing import Annotated

import typer

from mos_client.commands.options import HomeOption, JsonOption
from mos_runtime.console import console, print_json


def share(
    concept: Annotated[Path, typer.Argument(help="A concept's file.")],
    site: Annotated[
        str | None, typer.Option(help="This site's name, until it has enrolled.")
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Sign a concept into the outbox, for instance one tuned with --no-share."""
    from mos_client.store.enrolment import site_name
    from mos_client.store.home import SiteHome
    from mos_client.store.outbox import Outbox
    from mos_protocol.encoding.header import read_header
    from mos_protocol.errors import ProtocolError
    from mos_protocol.signed.bundle import MAX_BUNDLE_BYTES, concept_header
    from mos_runtime.files import read_whole

    content = read_whole(concept, what="a concept", max_bytes=MAX_BUNDLE_BYTES)
    try:
        concept_header(read_header(content))
    except ProtocolError as error:
        raise type(error)(f"{concept}: {error}") from error
    member = SiteHome.open(home, create=True)
    owner = site_name(member, site)
    entry = Outbox(member).put(content, owner)
    if json:
        print_json(
            {
                "concept": entry.concept,
                "site": owner,
                "signed": str(entry.path),
                "digest": entry.digest,
                "counter": entry.counter,
            }
        )
        return
    console.print(
        f"<{entry.concept}> is signed as site {owner}; `mos-client join` sends it",
        markup=False,
    )
