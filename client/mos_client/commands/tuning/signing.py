"""Where a command signs what it has made."""

from pathlib import Path
from typing import TYPE_CHECKING

from mos_client.errors import SiteError
from mos_runtime.errors import MosError

if TYPE_CHECKING:
    from mos_client.store.outbox import Outbox, OutboxEntry


def open_outbox(home: Path | None, wanted: str | None) -> "tuple[Outbox, str]":
    """Where the concept is signed, and as whose, known before the hours of work."""
    from mos_client.store.enrolment import site_name
    from mos_client.store.home import SiteHome
    from mos_client.store.outbox import Outbox

    site = SiteHome.open(home, create=True)
    return Outbox(site), site_name(site, wanted)


def sign_into(
    outbox: "Outbox", content: bytes, owner: str, path: Path
) -> "OutboxEntry":
    """Sign into the outbox, and next to the concept's own file.

    Raises:
        SiteError: either cannot be written; the concept's own file stays.
    """
    from mos_protocol.signed.blob import signature_path
    from mos_runtime.files import write_atomically

    try:
        entry = outbox.put(content, owner)
        envelope = outbox.bundle(entry.digest).envelope
        write_atomically(signature_path(path), envelope)
        return entry
    except MosError as error:
        raise SiteError(
            f"{error}. The concept itself is whole: {path}; once this is mended, "
            f"`mos-client share {path}` signs it"
        ) from error
