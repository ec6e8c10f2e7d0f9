"""`mos-client concepts`: what this site has signed, and what became of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mos_client.commands.options import HomeOption, JsonOption
from mos_shared.console import console, print_json

if TYPE_CHECKING:
    from mos_client.outbox import OutboxEntry


def concepts(home: HomeOption = None, json: JsonOption = False) -> None:
    """List the concepts that wait, were accepted or refused, or were taken back."""
    from mos_client.home import SiteHome
    from mos_client.outbox import Outbox
    from mos_client.releases import ReleaseStore

    site = SiteHome.open(home)
    outbox, releases = Outbox(site), ReleaseStore(site).versions()
    lists = {
        "waiting": outbox.entries(),
        "accepted": outbox.sent(),
        "refused": outbox.refused(),
        "withdrawn": outbox.withdrawn(),
    }
    if json:
        told: dict[str, Any] = {
            state: [_told(entry) for entry in entries]
            for state, entries in lists.items()
        }
        print_json(told | {"site": site.name(), "releases": list(releases)})
        return
    _show(lists)
    held = f"release {releases[-1]} is here" if releases else "no release yet"
    console.print(f"site {site.name() or 'without a name'}: {held}", markup=False)


def _show(lists: dict[str, "tuple[OutboxEntry, ...]"]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("concept", "state", "counter", "bytes", "digest", "reason"):
        table.add_column(heading, justify="right" if heading == "bytes" else "left")
    for state, entries in lists.items():
        for entry in entries:
            cells: Sequence[str] = (
                *(entry.concept, state, str(entry.counter), f"{entry.bytes:,}"),
                *(entry.digest[:12], entry.reason),
            )
            table.add_row(*(Text(cell) for cell in cells))
    if table.row_count:
        console.print(table)
    else:
        console.print("nothing signed yet; `mos-client tune` makes a concept")


def _told(entry: "OutboxEntry") -> dict[str, Any]:
    return {
        "concept": entry.concept,
        "digest": entry.digest,
        "counter": entry.counter,
        "file": str(entry.path),
        "bytes": entry.bytes,
        "reason": entry.reason,
    }
