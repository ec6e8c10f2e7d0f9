"""`mos-client concepts`: what this site has signed, and what became of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mos_client.commands.options import HomeOption, JsonOption
from mos_runtime.console import console, print_json

if TYPE_CHECKING:
    from mos_client.store.outbox import OutboxEntry


def concepts(home: HomeOption = None, json: JsonOption = False) -> None:
    """List this site's concepts: waiting, accepted, refused or withdrawn."""
    from mos_client.store.home import SiteHome
    from mos_client.store.outbox import Outbox
    from mos_client.store.releases import ReleaseStore

    site = SiteHome.open(home)
    outbox, releases = Outbox(site), ReleaseStore(site).versions()
    lists = {
        "waiting": outbox.entries(),
        "accepted": outbox.sent(),
        "refused": outbox.refused(),
        "withdrawn": outbox.withdrawn(),
    }
    if json:
        result: dict[str, Any] = {
            state: [_told(entry) for entry in entries]
            for state, entries in lists.items()
        }
        print_json(result | {"site": site.name(), "releases": list(releases)})
        return
    _show(lists)
    held = f"release {releases[-1]} is here" if releases else "no release yet"
    console.print(f"site {site.name() or 'without a name'}: {held}", markup=False)


def _show(lists: dict[str, "tuple[OutboxEntry, ...]"]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("concept", "class", "base", "bytes", "signed", "state", "reason"):
        table.add_column(heading, justify="right" if heading == "bytes" else "left")
    for state, entries in lists.items():
        for entry in entries:
            word, base = _facts(entry)
            cells: Sequence[str] = (
                *(entry.concept, word, base[:8], f"{entry.bytes:,}"),
                *(_day(entry.created), state, entry.reason),
            )
            table.add_row(*(Text(cell) for cell in cells))
    if table.row_count:
        console.print(table)
    else:
        console.print("nothing signed yet; `mos-client tune` makes a concept")


def _facts(entry: "OutboxEntry") -> tuple[str, str]:
    """Class word, and the base's fingerprint, of a bundle of this site."""
    from mos_protocol.signed.bundle import Bundle, bundle_facts

    # The outbox lists nothing whose signature it has not verified.
    facts = bundle_facts(Bundle.read(entry.path).sealed().payload)
    return facts.class_word, facts.base


def _day(seconds: int) -> str:
    """A Unix time as the user's date."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d")


def _told(entry: "OutboxEntry") -> dict[str, Any]:
    word, base = _facts(entry)
    return {
        "concept": entry.concept,
        "class_word": word,
        "base": base,
        "created": entry.created,
        "digest": entry.digest,
        "counter": entry.counter,
        "file": str(entry.path),
        "bytes": entry.bytes,
        "reason": entry.reason,
    }
