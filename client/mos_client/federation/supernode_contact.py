"""Whether the SuperNode reaches the centre, and if not, why, for the site's people.

Flower writes it to its own log, in gRPC's words, and mostly tries on in silence. Here
the words become one line that names what was refused and the way out. It goes to the
journal, which `mos-client join` shows, and to a file that is there while it holds,
which `mos-client status` reads. gRPC itself is not imported: an error is its code's
name and its details.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mos_client.federation import events
from mos_client.federation.supernode_names import NOT_CONNECTED_FILE
from mos_runtime.errors import StorageError
from mos_runtime.files import write_atomically
from mos_runtime.journal import Journal

_MAX_DETAILS_CHARACTERS: Final = 200
_ANSWERS: Final = frozenset({"PERMISSION_DENIED", "CANCELLED", "DEADLINE_EXCEEDED"})
"""Codes that say something of one call, and nothing of the connection."""

_STILL_CONNECTED: Final = (
    "the centre still counts an earlier connection of this site as open. One that was "
    "cut off ends within a minute, and this site comes back by itself; if this message "
    "stays, a copy of this site's home is connected (a site joins from one home at a "
    "time)"
)
_OTHER_HOST: Final = (
    "the certificate shown at {address} is for another host name. The centre's "
    "people add the name by `mos-server serve --host`, or send a welcome with "
    "another --address"
)
_HINTS: Final = (
    (
        "WRONG_VERSION_NUMBER",
        "the centre at {address} speaks plain text, and this site only TLS. Either the "
        "address is another program's, or the centre must `serve` without --insecure",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the certificate shown at {address} is not of the authority in this site's "
        "welcome. Either another machine answers there, or the centre has a new "
        "authority: ask its people for a new welcome, and `mos-client join` that",
    ),
    ("Hostname Verification", _OTHER_HOST),
    ("not in peer certificate", _OTHER_HOST),
    (
        "handshake failed",
        "TLS with {address} failed. Either another program answers there, or the "
        "connection is tampered with on its way",
    ),
    (
        "Connection refused",
        "nothing listens at {address}. Either the centre does not serve now, or its "
        "address has changed: ask its people for a new welcome",
    ),
    (
        "resolv",
        "the name in {address} is not known to this machine's network. Look at its "
        "connection, or ask the centre's people for a welcome with another address",
    ),
    (
        "Invalid timestamp",
        "the clocks of the centre and of this machine differ by too much. Set this "
        "machine's clock (by NTP), or ask the centre's people to look at theirs",
    ),
    (
        "revoked node key",
        "the centre has revoked this site, or registered another node key for it. Ask "
        "its people whether `mos-server sites` lists this site",
    ),
    (
        "unknown node key",
        "the centre does not let this site's node key in. Right after its start it "
        "opens to one site after the other, and this site comes back by itself; else "
        "ask its people whether `mos-server sites` lists this site as active",
    ),
    (
        "Invalid node ID",
        "the centre has started again and does not know this connection any more; this "
        "site comes back by itself",
    ),
)
"""What stands in gRPC's details, and what it means; the first that fits."""


def why_not_connected(code: str, details: str, *, address: str, tls: bool) -> str:
    """What keeps a site from its centre, and the way out, in one line.

    Args:
        code: Name of gRPC's status code, as `UNAVAILABLE`.
        details: gRPC's, or the centre's, words.
        address: The centre's HOST:PORT.
        tls: Whether this site speaks TLS.

    Returns:
        "" where the error says nothing of the connection.
    """
    if code in _ANSWERS:
        return ""
    if code == "UNAVAILABLE" and not tls and "Socket closed" in details:
        return (
            f"the centre at {address} does not take plain text. This site's welcome "
            "brings no certificate: ask the centre's people for a new one, and "
            "`mos-client join` that"
        )
    for words, meaning in _HINTS:
        if words.lower() in details.lower():
            return meaning.format(address=address)
    if code == "FAILED_PRECONDITION" and "activate" in details:
        return _STILL_CONNECTED
    shown = details[:_MAX_DETAILS_CHARACTERS]
    said = shown if shown.isprintable() else repr(shown)
    if code == "UNAVAILABLE":
        return f"the centre at {address} cannot be reached: {said}"
    return f"the centre at {address} answered {code}: {said}"


def reason_of(folder: Path) -> str:
    """Why the SuperNode whose files are in `folder` is not connected; "" if it is."""
    try:
        return (folder / NOT_CONNECTED_FILE).read_text("utf-8").strip()
    except OSError:
        return ""


class Contact:
    """Records every loss and return of the connection; every reason once."""

    def __init__(self, journal: Path, *, address: str, tls: bool) -> None:
        """Not connected yet, and nothing recorded.

        Args:
            journal: The site's.
            address: The centre's.
            tls: Whether this site speaks TLS.
        """
        self._journal = Journal(journal)
        self._path = journal.parent / NOT_CONNECTED_FILE
        self._address, self._tls = address, tls
        self._connected = False
        self._reason = ""

    def works(self) -> None:
        """A call went through."""
        if self._connected:
            return
        self._connected, self._reason = True, ""
        self._path.unlink(missing_ok=True)
        self._journal.write(events.Connected())

    def failed(self, error: Any) -> None:
        """A call did not; `error` is gRPC's."""
        reason = why_not_connected(
            error.code().name,
            str(error.details() or ""),
            address=self._address,
            tls=self._tls,
        )
        if not reason or reason == self._reason:
            return
        self._connected, self._reason = False, reason
        # A full disk costs only what `status` shows.
        with suppress(StorageError):
            write_atomically(self._path, f"{reason}\n".encode())
        self._journal.write(events.NotConnected(reason=reason))

    def follow(self, invoker: Any) -> None:
        """Be called by Flower's `RetryInvoker` at every call that it makes."""
        gives_up: Callable[[Any], bool] = invoker.should_giveup
        succeeded: Callable[[Any], None] = invoker.on_success

        def failing(error: Any) -> bool:
            self.failed(error)
            return gives_up(error)

        def succeeding(state: Any) -> None:
            self.works()
            succeeded(state)

        invoker.should_giveup, invoker.on_success = failing, succeeding
