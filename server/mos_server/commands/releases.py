"""`mos-server releases`: what was published."""

from datetime import UTC, datetime

from mos_runtime.console import console, print_json
from mos_server.commands.options import HomeOption, JsonOption


def releases(home: HomeOption = None, json: JsonOption = False) -> None:
    """List the releases, oldest first, and verify their chain of digests."""
    from rich.table import Table
    from rich.text import Text

    from mos_server.registry.home import CentreHome
    from mos_server.registry.registry import Registry

    registry = Registry(CentreHome.open(home))
    published, length = registry.published.all(), registry.published.check_chain()
    if json:
        rows = [
            {
                "version": release.version,
                "digest": release.digest,
                "file": str(release.path),
                "bytes": release.size,
                "base": release.base,
                "created": release.created,
                "expires": release.expires,
                "concepts": list(release.concepts),
                "whole": release.whole,
            }
            for release in published
        ]
        print_json({"releases": rows, "chain": length})
        return
    if not published:
        console.print("no release yet; the first accepted concept makes one")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("release", "published", "expires", "bytes", "concepts"):
        table.add_column(heading, justify="right" if heading == "bytes" else "left")
    for release in published:
        cells = (
            *(str(release.version), _day(release.created), _day(release.expires)),
            f"{release.size:,}" if release.whole else "envelope alone",
            ", ".join(release.concepts) or "none",
        )
        table.add_row(*map(Text, cells))
    console.print(table)
    console.print(f"each of the {length} names the one before it")


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
