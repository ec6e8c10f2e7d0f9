"""`mos-client enroll`: ask a centre to be admitted."""

from pathlib import Path
from typing import Annotated

import typer

from mos_client.commands.options import HomeOption, JsonOption
from mos_shared.console import console, print_json


def enroll(
    name: Annotated[str, typer.Option(help="What this site is to be called.")],
    out: Annotated[Path, typer.Option(help="The request, a text file.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Write a request for the centre; it holds public keys and the name, no secret.

    The centre answers with a welcome, which `mos-client join` takes.
    """
    from mos_client.enrolment import make_request
    from mos_client.home import SiteHome
    from mos_protocol.enrolment import EnrolmentRequest
    from mos_shared.files import write_atomically
    from mos_shared.names import checked_name

    checked_name(name, "site")
    site = SiteHome.open(home, create=True)
    content = make_request(site, name)
    write_atomically(out, content)
    request = EnrolmentRequest.verified(content)
    if json:
        print_json(
            {
                "site": name,
                "request": str(out),
                "key": request.site_key.raw.hex(),
                "fingerprint": request.fingerprint,
            }
        )
        return
    console.print(f"{out}: the request of site {name!r}", markup=False)
    console.print(f"its fingerprint: {request.fingerprint}", soft_wrap=True)
    console.print(
        "Send it to the centre by a way you trust, and compare the fingerprint there; "
        "then `mos-client join` the welcome that comes back."
    )
