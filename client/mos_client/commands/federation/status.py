"""`mos-client status`: how this site stands with its centre."""

import time
from dataclasses import asdict
from typing import Any

from mos_client.commands.options import HomeOption, JsonOption
from mos_runtime.console import console, print_json


def status(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show this site's name, what waits to be sent, and the release held."""
    status = _status(home)
    if json:
        print_json(status)
        return
    name = status["site"] or "without a name yet"
    console.print(f"site {name}, key {status['key'][:12]}", markup=False)
    if status["centre"] is None:
        console.print(_not_admitted(status), soft_wrap=True)
    else:
        console.print(f"centre at {status['centre']}, key {status['centre_key'][:12]}")
        console.print(_contact(status))
        if status["not_connected"]:
            line = f"not connected: {status['not_connected']}"
            console.print(line, markup=False, soft_wrap=True)
    for what, names in (("waiting", "outbox"), ("to be withdrawn", "withdrawals")):
        if status[names]:
            words = ", ".join(f"<{one}>" for one in status[names])
            console.print(f"{what}: {words}", markup=False)
    if status["key_change"]:
        console.print("a change of key waits for the centre")
    held = status["release"]
    console.print(f"release {held} is held" if held else "no release yet")
    for warning in status["warnings"]:
        console.print(f"note: {warning}", markup=False, soft_wrap=True)


def _status(folder: Any) -> dict[str, Any]:
    from mos_client.federation.joining import heard_at, is_joined
    from mos_client.federation.supernode_contact import reason_of
    from mos_client.store.centre_keys import centre_keys
    from mos_client.store.enrolment import read_welcome
    from mos_client.store.freshness import newest_stated
    from mos_client.store.home import SiteHome
    from mos_client.store.outbox import Outbox
    from mos_client.store.releases import ReleaseStore
    from mos_client.store.requests import Requests

    site = SiteHome.open(folder)
    welcome, store = read_welcome(site), ReleaseStore(site)
    outbox, requests = Outbox(site), Requests(site).entries()
    facts, newest, now = store.newest(), newest_stated(site), int(time.time())
    keys = () if welcome is None else centre_keys(site, welcome)
    return {
        "site": site.name(),
        "key": site.signing_key().public.key_id,
        "requested": site.request_path.is_file(),
        "centre": welcome and welcome.address,
        "centre_key": keys[-1].key_id if keys else None,
        "base": welcome and welcome.base,
        "joined": is_joined(site),
        "heard": heard_at(site),
        "not_connected": reason_of(site.flower),
        "outbox": [entry.concept for entry in outbox.entries()],
        "accepted": [entry.concept for entry in outbox.sent()],
        "refused": [entry.concept for entry in outbox.refused()],
        "withdrawals": [entry.concept for entry in requests if entry.concept],
        "key_change": any(not entry.concept for entry in requests),
        "release": facts and facts.version,
        "expires": facts and facts.expires,
        "newest": newest and asdict(newest),
        "warnings": store.warnings(facts, now=now) if facts else (),
        "releases": list(store.versions()),
    }


def _not_admitted(status: dict[str, Any]) -> str:
    if status["requested"]:
        return (
            "not admitted yet: the request was written; send it to the centre, and "
            "`mos-client join` the welcome that comes back"
        )
    return "not admitted anywhere; `mos-client enroll` writes the request"


def _contact(status: dict[str, Any]) -> str:
    state = "joined" if status["joined"] else "not joined; `mos-client join` does"
    if status["heard"] is None:
        return f"{state}; the centre has never spoken to this site"
    ago = max(0, round(time.time() - status["heard"]))
    return f"{state}; the centre last spoke {ago} s ago"
