"""`mos-client enroll`: ask a centre to be admitted."""

from pathlib import Path
from typing import Annotated

import typer

from mos_client.commands.options import HomeOption, JsonOption
from mos_runtime.console import ForceOption, console, print_json


def enroll(
    name: Annotated[str | None, typer.Option(help="Name of this site.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Output file: the request, as text.")
    ] = None,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Change this site's key instead.")
    ] = False,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="File with the passphrase of the site's key."),
    ] = None,
    force: ForceOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Write an enrolment request for the centre: public keys and the name, no secret.

    The centre answers with a welcome, which `mos-client join` takes. With --rotate, a
    site that was admitted makes a new key instead; its old one signs for it, and
    `mos-client join` tells the centre.
    """
    from mos_client.errors import IdentityError
    from mos_client.store.enrolment import make_request
    from mos_client.store.home import SiteHome
    from mos_model.concepts.names import checked_name
    from mos_protocol.signed.enrolment import EnrolmentRequest
    from mos_protocol.signed.keys import use_passphrase_file
    from mos_runtime.files import write_atomically
    from mos_runtime.outputs import output_file

    use_passphrase_file(passphrase_file)
    if rotate:
        _rotate(home, json=json)
        return
    if name is None or out is None:
        raise IdentityError("pass --name and --out, or --rotate to change the key")
    checked_name(name, "site")
    output_file(out, force=force)
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


def _rotate(home: Path | None, *, json: bool) -> None:
    from mos_client.errors import IdentityError
    from mos_client.store.enrolment import read_welcome
    from mos_client.store.home import SiteHome
    from mos_client.store.requests import Requests
    from mos_protocol.signed.statement import Rotation

    site = SiteHome.open(home)
    if read_welcome(site) is None:
        raise IdentityError(
            f"{site.folder}: not admitted anywhere yet, so there is no key to change; "
            "`mos-client enroll --name NAME --out FILE` asks for that"
        )
    entry = Requests(site).change_key()
    assert isinstance(entry.statement, Rotation)
    new = entry.statement.new_key
    if json:
        print_json({"key": new.key_id, "counter": entry.counter})
        return
    console.print(
        f"key {new.short} is to take the present one's place; `mos-client join` asks "
        "the centre, and the present one signs until then"
    )
