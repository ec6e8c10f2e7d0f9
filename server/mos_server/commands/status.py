"""`mos-server status`: how the centre stands."""

from datetime import UTC, datetime
from typing import Any

from mos_runtime.console import console, print_json
from mos_server.commands.options import HomeOption, JsonOption


def status(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show the connected sites, the concepts, and the newest release."""
    from mos_server.registry.home import CentreHome
    from mos_server.registry.registry import Registry
    from mos_server.serving.status import centre_status, status_line

    centre = CentreHome.open(home)
    status = centre_status(centre, Registry(centre))
    if json:
        print_json(status)
        return
    if status["serving"]:
        state = "sites can connect" if status["healthy"] else "starting"
        line = f"serving at {status['address']} since {_day(status['since'])}: {state}"
        console.print(line, markup=False)
    else:
        console.print("not serving; `mos-server serve` does")
    console.print(status_line(status), markup=False, soft_wrap=True)
    for site in status["sites"]:
        console.print(_site(site), markup=False, soft_wrap=True)
    if status["release"]:
        console.print(f"the release is good until {_day(status['release']['expires'])}")
    if status["certificate_expires"]:
        until = _day(status["certificate_expires"])
        console.print(f"the certificate is good until {until}, and renewed before")
    if status["orders"]:
        console.print(f"{status['orders']} order(s) to tune are not answered yet")
    for order in status["tuning"]:
        if order["reason"]:
            line = f"  {order['site']}/{order['concept']}: {order['state']}"
            console.print(line, markup=False, soft_wrap=True)


def _site(site: dict[str, Any]) -> str:
    state = "here" if site["connected"] else "away"
    if site["revoked"]:
        state = "revoked"
    concepts = ", ".join(f"<{name}>" for name in site["concepts"]) or "no concept"
    return f"  {site['site']}: {state}, {concepts}"


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
