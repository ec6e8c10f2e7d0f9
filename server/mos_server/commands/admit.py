"""`mos-server admit`: let a site in."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mos_runtime.console import ForceOption, console, print_json
from mos_server.commands.options import HomeOption, JsonOption

if TYPE_CHECKING:
    from mos_server.registry.home import CentreHome


def admit(
    request: Annotated[Path, typer.Argument(help="What `mos-client enroll` wrote.")],
    out: Annotated[Path, typer.Option(help="The welcome for the site, a text file.")],
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
    from mos_model.bases.base_files import read_inventory
    from mos_protocol.signed.enrolment import EnrolmentRequest, Welcome
    from mos_runtime.files import read_whole, write_atomically
    from mos_runtime.outputs import output_file
    from mos_server.registry.home import CentreHome
    from mos_server.registry.registry import Registry
    from mos_server.registry.sites.quotas import Quota

    allowed = None if quota is None else Quota.parse(quota)
    output_file(out, force=force)
    asked = EnrolmentRequest.verified(
        read_whole(request, what="an enrolment request", max_bytes=2**20)
    )
    fingerprint = read_inventory(base).base
    centre = CentreHome.open(home, create=True)
    key = centre.signing_key().public
    # Made once without a certificate: whatever is wrong with the address shows now.
    plain = Welcome(address, b"", key, asked.site, fingerprint)
    plain.to_bytes()
    if insecure:
        _check_loopback(plain.host)
        authority, renewed = b"", False
    else:
        authority, renewed = _authority(centre, plain.host)
    welcome = Welcome(address, authority, key, asked.site, fingerprint)
    Registry(centre).membership.admit(
        asked.site, asked.site_key, asked.node_key, quota=allowed
    )
    write_atomically(out, welcome.to_bytes())
    if json:
        print_json(
            {
                "site": asked.site,
                "welcome": str(out),
                "key": asked.site_key.raw.hex(),
                "centre_key": key.raw.hex(),
                "fingerprint": asked.fingerprint,
                "certificate_renewed": renewed,
            }
        )
        return
    console.print(f"site {asked.site} is admitted, key {asked.site_key.short}")
    console.print(f"its request's fingerprint: {asked.fingerprint}", soft_wrap=True)
    console.print("The site's people should see the same one; else revoke it at once.")
    if renewed:
        console.print(
            f"The server certificate now names {plain.host}; restart `mos-server "
            "serve` where it runs."
        )
    console.print(f"{out}: the welcome to send back", markup=False)


def _authority(centre: "CentreHome", host: str) -> tuple[bytes, bool]:
    """The CA's certificate, and whether the server's was made anew for `host`."""
    from mos_server.serving.tls import ensure_certificates

    before = centre.tls / "server.crt"
    old = before.read_bytes() if before.is_file() else None
    found = ensure_certificates(centre.tls, [host])
    renewed = old is not None and old != found.certificate.read_bytes()
    return found.ca.read_bytes(), renewed


def _check_loopback(host: str) -> None:
    import ipaddress

    from mos_server.errors import CentreError

    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise CentreError(
            f"--insecure with {host}: without TLS only loopback addresses are served; "
            "leave --insecure out"
        )
