"""`mos-server releases`: what was published."""

from datetime import UTC, datetime

from mos_server.commands.options import HomeOption, JsonOption
from mos_shared.console import console, print_json


def releases(home: HomeOption = None, json: JsonOption = False) -> None:
    """List the releases, oldest first."""
    from rich.table import Table
    from rich.text import Text

    from mos_server.home import CentreHome
    from mos_server.registry import Registry

    published = Registry(CentreHome.open(home)).releases()
    if json:
        told = [
            {
                "version": release.version,
                "digest": release.digest,
                "file": str(release.path),
                "bytes": release.size,
                "base": release.base,
                "created": release.created,
                "expires": release.expires,
                "concepts": list(release.concepts),
            }
            for release in published
        ]
        print_json({"releases": told})
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
            *(f"{release.size:,}", ", ".join(release.concepts)),
        )
        table.add_row(*map(Text, cells))
    console.print(table)


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
