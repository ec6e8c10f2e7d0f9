"""Which release is the newest, by the centre's word, and what speaks against one held.

Every sync is signed by the centre's key, for this node, with the time of signing and an
expiry some minutes later (`mos_protocol.signed.call`), and names the newest release: it
is this project's timestamp role, in TUF's words. The site notes it before it acts on
the sync:

HOME/newest-release   {"version": the newest, "since": first named, "stated": last}

A statement that names an older release than was named or taken up before is refused,
and the sync with it. After a day without a statement the newest release counts as
unknown. Nothing here reads a clock.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

from mos_client.errors import StoreError
from mos_client.store.home import SiteHome
from mos_protocol.errors import CallError, Reason
from mos_runtime.files import read_whole, write_atomically

FRESH_SECONDS: Final = 24 * 3600
"""How long a statement of the centre counts."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True)
class Newest:
    """What the centre has stated of its newest release."""

    version: int
    """0 where there was none."""

    since: int
    """When this version was first stated, Unix time in seconds."""

    stated: int
    """When it was last stated, Unix time in seconds."""


def newest_stated(home: SiteHome) -> Newest | None:
    """The centre's last statement; None where it has made none.

    Raises:
        StoreError: the file is broken.
    """
    path = home.newest_path
    if not path.is_file():
        return None
    content = read_whole(path, what="the centre's statement", max_bytes=1024)
    try:
        values = json.loads(content)
        return Newest(*(int(values[key]) for key in ("version", "since", "stated")))
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path}: not readable; delete it, and the centre states it anew"
        ) from error


def note_newest(home: SiteHome, version: int, *, stated: int, held: int) -> None:
    """Note the centre's statement that release `version` is its newest.

    Args:
        home: The site's.
        version: 0 for none.
        stated: When the centre signed it, Unix time in seconds.
        held: Version of the newest release held; 0 for none.

    Raises:
        CallError: it names an older release than is known; nothing is noted.
        StorageError: it cannot be written.
    """
    with home.lock():
        known = newest_stated(home)
        least = max(held, known.version if known else 0)
        if version < least:
            raise CallError(
                Reason.ROLLED_BACK,
                f"release {version} is stated to be the newest, but this site knows "
                f"release {least}; either the statement was held back, or the centre "
                "lost releases",
            )
        found = Newest(version, stated, stated)
        if known is not None and known.version == version:
            stated = max(stated, known.stated)
            found = Newest(version, known.since, stated)
        if found != known:
            write_atomically(home.newest_path, json.dumps(asdict(found)).encode())


def warnings_of(
    version: int, expires: int, newest: Newest | None, *, now: int
) -> tuple[str, ...]:
    """What speaks against using a release held, a sentence each.

    Args:
        version: The release's.
        expires: The release's, Unix time in seconds.
        newest: The centre's last statement.
        now: Unix time in seconds.
    """
    found = []
    if now >= expires:
        found.append(expired(version, expires))
    if newest is None:
        found.append("the centre has never stated which release is the newest")
        return tuple(found)
    if newest.version > version:
        found.append(
            f"release {newest.version} is the newest, first stated "
            f"{_ago(now - newest.since)} ago"
        )
    if now - newest.stated > FRESH_SECONDS:
        found.append(
            f"the centre last stated its newest release {_ago(now - newest.stated)} "
            "ago; there may be a newer one. Run `mos-client join`, or ask its people"
        )
    return tuple(found)


def expired(version: int, expires: int) -> str:
    """That a release has expired, and why that may be."""
    return (
        f"release {version} expired on {day(expires)}; either the centre has not "
        "renewed it, or newer ones do not reach this site"
    )


def day(moment: int) -> str:
    """The UTC date of a Unix time."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


def _ago(seconds: int) -> str:
    for size, unit in ((_DAY, "days"), (_HOUR, "hours"), (_MINUTE, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{max(0, seconds)} s"
