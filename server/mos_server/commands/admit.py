"""`mos-server admit`: let a site in."""

from pathlib import Path
from typing import Annotated

import typer

from mos_runtime.console import ForceOption, console, print_json
from mos_server.commands.options import HomeOption, JsonOption


def admit(
    request: Annotated[Path, typer.Argument(help="What `mos-client enroll` wrote.")],
    out: Annotated[
        Path, typer.Option(help="Output file: the site's welcome, as text.")
    ],
    address: Annotated[
        str, typer.Option(help="host:port at which the site reaches this centre.")
    ] = "127.0.0.1:9092",
    base: Annotated[
        str, typer.Option(help="`mini`, a pipeline directory, or a hub name.")
    ] = "mini",
    insecure: Annotated[
        bool, typer.Option(help="Without TLS; on loopback only.")
    ] = False,
    quota: Annotated[
        str | None,
        typer.Option(
            help="What the site may send and keep, for example "
            "`concepts=32,megabytes=2048,per-hour=60` (the defaults)."
        ),
    ] = None,
    force: ForceOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Admit a site by its request, and write the welcome that it joins with.

    Admitting a site again renews its welcome, and its quota where --quota is given.
    """
    from mos_runtime.files import read_whole, write_atomically
    from mos_runtime.outputs import output_file
    from mos_server.serving.operating import Admission, admit_site

    output_file(out, force=force)
    content = read_whole(request, what="an enrolment request", max_bytes=2**20)
    admission = Admission(content, address, base, insecure, quota)
    admitted = admit_site(admission, home)
    enrolment, welcome = admitted.request, admitted.welcome
    write_atomically(out, welcome.to_bytes())
    if json:
        print_json(
            {
                "site": enrolment.site,
                "welcome": str(out),
                "key": enrolment.site_key.raw.hex(),
                "centre_key": welcome.centre_key.raw.hex(),
                "fingerprint": enrolment.fingerprint,
                "certificate_renewed": admitted.renewed,
            }
        )
        return
    console.print(f"site {enrolment.site} is admitted, key {enrolment.site_key.short}")
    console.print(f"its request's fingerprint: {enrolment.fingerprint}", soft_wrap=True)
    console.print("The site's people should see the same one; else revoke it at once.")
    if admitted.renewed:
        console.print(
            f"The server certificate now names {welcome.host}; restart `mos-server "
            "serve` where it runs."
        )
    console.print(f"{out}: the welcome to send back", markup=False)
