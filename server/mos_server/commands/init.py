"""`mos-server init` and `change-key`: what the centre signs and serves with."""

from pathlib import Path
from typing import Annotated

import typer

from mos_runtime.console import console, print_json
from mos_server.commands.options import HomeOption, JsonOption


def init(
    host: Annotated[
        list[str] | None,
        typer.Option(help="A name or address that sites reach this centre by."),
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="File with a passphrase that encrypts the private keys."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            help="postgresql+psycopg://USER@HOST/DATABASE for the registry (default: a "
            "SQLite file in the home)."
        ),
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Make the centre's signing key, its authority, and the server's certificate.

    Existing files are kept. `serve` and `admit` do the same by themselves.
    """
    from mos_protocol.signed.keys import use_passphrase_file
    from mos_runtime.files import write_atomically
    from mos_server.registry.home import CentreHome
    from mos_server.registry.storage.database import Database, checked_url
    from mos_server.serving.tls import (
        authority_fingerprint,
        certificate_end,
        ensure_certificates,
    )

    use_passphrase_file(passphrase_file)
    url = checked_url(database) if database else ""
    centre = CentreHome.open(home, create=True)
    if url:
        Database(url, lock=centre.folder / ".lock")  # it can be used, or is refused
        write_atomically(centre.database_url_path, f"{url}\n".encode(), mode=0o600)
    ensure_certificates(centre.tls, host or [])
    result = {
        "home": str(centre.folder),
        "key": centre.signing_key().public.key_id,
        "authority": authority_fingerprint(centre.tls),
        "certificate_expires": certificate_end(centre.tls),
    }
    if json:
        print_json(result)
        return
    console.print(f"{centre.folder}: the centre's home", markup=False, soft_wrap=True)
    console.print(f"its signing key's id: {result['key']}", soft_wrap=True)
    console.print(f"its authority's SHA-256: {result['authority']}", soft_wrap=True)


def change_key(home: HomeOption = None, json: JsonOption = False) -> None:
    """Replace the centre's signing key; the old key signs the new one.

    Sites take up the new key with the next release, even those that miss some. Do not
    use this for a key that may be stolen: its thief can sign a successor too. Set up a
    new centre instead.
    """
    import time

    from mos_server.registry.home import CentreHome
    from mos_server.registry.keychain import change_key as change

    centre = CentreHome.open(home)
    old, new = centre.signing_key().public, change(centre, now=int(time.time()))
    if json:
        print_json({"old": old.key_id, "key": new.key_id})
        return
    console.print(f"key {new.short} signs from now on, in place of {old.short}")
    console.print("The next release brings it to the sites; `serve` makes one at once.")
