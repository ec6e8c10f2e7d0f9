"""`mos-client verify`: whether a file is what somebody signed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mos_client.commands.options import HomeOption, JsonOption
from mos_runtime.console import console, print_json

if TYPE_CHECKING:
    from mos_protocol.signed.keys import VerifyKey


def verify(
    file: Annotated[
        Path, typer.Argument(help="A concept or a release; FILE.sig is next to it.")
    ],
    key: Annotated[
        str | None,
        typer.Option(help="Public key of its signer, 64 hexadecimal digits."),
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Verify a file's signature with this site's key, the centre's, or --key."""
    from mos_protocol.errors import ProtocolError
    from mos_protocol.rules.at_rest import bundle_as_signed, release_as_signed
    from mos_protocol.signed.blob import read_pair
    from mos_protocol.signed.bundle import Bundle
    from mos_protocol.signed.envelope import RELEASE_TYPE, open_envelope
    from mos_protocol.signed.release import MAX_RELEASE_BYTES, Release

    envelope, payload = read_pair(
        file, what="a concept or a release", max_bytes=MAX_RELEASE_BYTES
    )
    result: dict[str, Any] = {"file": str(file)}
    try:
        sealed = open_envelope(envelope, endorsed=True)
        signer, whose = _signer(sealed.key_id, key, home)
        result |= {"signer": signer.key_id, "signed_by": whose}
        if sealed.payload_type == RELEASE_TYPE:
            release = release_as_signed(Release(envelope, payload), signer)
            result |= {"kind": "release", "version": release.version}
            result |= {"base": release.base, "expires": release.expires}
            result["concepts"] = [concept.key for concept in release.concepts]
            what = f"release {release.version}: {', '.join(result['concepts'])}"
        else:
            concept = bundle_as_signed(Bundle(envelope, payload), signer)
            result |= {"kind": "concept", "concept": concept.concept}
            result |= {"site": concept.site, "counter": concept.counter}
            result |= {"base": concept.base, "expires": concept.expires}
            what = f"concept <{concept.concept}> of site {concept.site}"
    except ProtocolError as error:
        raise type(error)(f"{file}: {error}") from error
    if json:
        print_json(result)
        return
    console.print(f"{file}: {what}", markup=False)
    console.print(f"whole, and signed by {whose} ({signer.short})", markup=False)


def _signer(
    key_id: str, given: str | None, home: Path | None
) -> tuple["VerifyKey", str]:
    """The key that made a signature, and its owner; only known keys are tried."""
    from mos_client.errors import IdentityError
    from mos_client.store.centre_keys import centre_keys
    from mos_client.store.enrolment import read_welcome
    from mos_client.store.home import SiteHome
    from mos_protocol.errors import MalformedError
    from mos_protocol.signed.keys import VerifyKey

    known: list[tuple[VerifyKey, str]] = []
    if given is not None:
        try:
            known.append((VerifyKey.from_raw(bytes.fromhex(given)), "the key given"))
        except MalformedError as error:
            raise IdentityError(f"--key {given[:80]}: {error}") from error
        except ValueError as error:
            raise IdentityError(
                f"--key {given[:80]}: a public key has 64 hexadecimal digits"
            ) from error
    else:
        site = SiteHome.open(home)
        known += [(one, "this site") for one in site.public_keys()]
        welcome = read_welcome(site)
        if welcome is not None:
            known += [(one, "the centre") for one in centre_keys(site, welcome)]
    for candidate, whose in known:
        if candidate.key_id == key_id:
            return candidate, whose
    tried = " or ".join(dict.fromkeys(whose for _, whose in known))
    raise IdentityError(
        f"signed by key {key_id[:12]}, which is not {tried}; "
        "pass its signer's public key with --key"
    )
