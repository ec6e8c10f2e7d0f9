"""`mos-client join` without its terminal: one guarded SuperNode, kept alive."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mos_client.errors import IdentityError
from mos_client.federation import events
from mos_client.federation.node import HEARD_FILE, HOME_KEY, journal_path
from mos_client.federation.supernode_names import JOURNAL_VARIABLE
from mos_client.store.home import SiteHome
from mos_protocol.signed.enrolment import Welcome
from mos_protocol.signed.keys import check_private
from mos_runtime.files import write_atomically
from mos_runtime.flower_env import flower_environment, free_port, is_loopback
from mos_runtime.journal import Entry, JournalReader
from mos_runtime.locking import HeldError, locked
from mos_runtime.processes import BackOff, Family, Stopping

LOG_FILE: Final = "supernode.log"

_LOOK_EVERY_SECONDS: Final = 0.3
_HEALTHY_AFTER_SECONDS: Final = 60.0
_SILENT_AFTER_SECONDS: Final = 60.0
_RESTART_AFTER_SECONDS: Final = 300.0
_DRAIN_SECONDS: Final = 15.0

OnEvent = Callable[[Entry[events.SiteEvent]], bool]
"""Called with every event; True ends the joining."""


@dataclass(frozen=True)
class JoinSettings:
    """How a site joins."""

    longest_pause_seconds: float = 60.0
    """Between two attempts to reach the centre."""


def join_centre(
    home: SiteHome,
    welcome: Welcome,
    *,
    stopping: Stopping,
    on_event: OnEvent,
    settings: JoinSettings | None = None,
) -> bool:
    """Stay connected to the centre until stopped.

    Args:
        home: The site's.
        welcome: Where the centre is, and what to trust.
        stopping: Ends it from outside.
        on_event: Called with what happens here; its True ends it too.
        settings: Pauses.

    Returns:
        Whether `on_event` ended it.

    Raises:
        IdentityError: the centre is elsewhere and the welcome brings no certificate,
            or another `join` runs from this home.
    """
    try:
        with locked(home.joining_lock, timeout_seconds=0.5):
            return _join(home, welcome, stopping, on_event, settings or JoinSettings())
    except HeldError as error:
        raise IdentityError(
            f"{home.folder}: another `mos-client join` runs from this home; stop that "
            "one, or pass another --home"
        ) from error


def is_joined(home: SiteHome) -> bool:
    """Whether a `mos-client join` runs from this home, on this machine."""
    if not home.joining_lock.exists():
        return False
    try:
        with locked(home.joining_lock, timeout_seconds=0.0):
            return False
    except HeldError:
        return True


def heard_at(home: SiteHome) -> float | None:
    """When the centre last spoke to this site, Unix time; None for never."""
    path = home.flower / HEARD_FILE
    return path.stat().st_mtime if path.exists() else None


def _join(
    home: SiteHome,
    welcome: Welcome,
    stopping: Stopping,
    on_event: OnEvent,
    settings: JoinSettings,
) -> bool:
    command = supernode_command(home, welcome)
    on_event = _without_repeats(on_event)
    reader = JournalReader(journal_path(home), events.SITE_EVENTS, from_end=True)
    back_off = BackOff(longest=settings.longest_pause_seconds)
    while not stopping:
        port = free_port()
        family = Family(
            [*command, "--port", str(port)],
            env=flower_environment(
                home.flower, **{JOURNAL_VARIABLE: str(journal_path(home).resolve())}
            ),
            log=home.flower / LOG_FILE,
        )
        started = time.monotonic()
        hearing = _Hearing(home)
        try:
            while not stopping.wait(_LOOK_EVERY_SECONDS):
                if any([on_event(entry) for entry in reader.new()]):
                    hearing.wait_for_more(stopping)
                    return True
                family.reap()
                if hearing.just_fell_silent():
                    on_event(Entry(events.Silent(welcome.address)))
                if family.exit_code() is not None or hearing.seems_lost():
                    break
        finally:
            family.stop()
        if any([on_event(entry) for entry in reader.new()]):
            return True
        if stopping:
            return False
        if time.monotonic() - started > _HEALTHY_AFTER_SECONDS:
            back_off.worked()
        pause = back_off.failed()
        on_event(Entry(events.Disconnected(pause)))
        stopping.wait(pause)
    return False


def supernode_command(home: SiteHome, welcome: Welcome) -> list[str]:
    """The guarded SuperNode's command line, all but its local port.

    Raises:
        IdentityError: the centre is not on this machine and there is no TLS.
        StorageError: others can read the node's private key.
    """
    config = home.flower / "node.toml"
    site_home = json.dumps(str(home.folder.resolve()))
    write_atomically(config, f"{HOME_KEY} = {site_home}\n".encode())
    command = [sys.executable, "-m", "mos_client.federation.supernode"]
    command += ["--superlink", welcome.address, "--host", "127.0.0.1"]
    command += ["--node-config", str(config.resolve())]
    if not welcome.ca_certificate:
        if not is_loopback(welcome.host):
            raise IdentityError(
                f"{welcome.address}: the welcome brings no certificate, and only a "
                "centre on this very machine goes without; ask for a new welcome"
            )
        return [*command, "--insecure"]
    authority = home.flower / "centre-ca.crt"
    write_atomically(authority, welcome.ca_certificate)
    command += ["--root-certificates", str(authority.resolve())]
    node_key = home.node_key_path.resolve()
    check_private(node_key)
    return [*command, "--auth-supernode-private-key", str(node_key)]


class _Hearing:
    """Notices when the centre, which speaks every half minute, does not any more."""

    def __init__(self, home: SiteHome) -> None:
        self._path = home.flower / HEARD_FILE
        self._since = time.time()
        self._told = False

    def _heard_at(self) -> float:
        return self._path.stat().st_mtime if self._path.exists() else 0.0

    def _silence(self) -> float:
        return time.time() - max(self._heard_at(), self._since)

    def just_fell_silent(self) -> bool:
        """Once per silence."""
        silent = self._silence() > _SILENT_AFTER_SECONDS
        first, self._told = silent and not self._told, silent
        return first

    def wait_for_more(self, stopping: Stopping) -> None:
        """Until the centre speaks anew, so that the last answer has reached it."""
        heard, until = self._heard_at(), time.monotonic() + _DRAIN_SECONDS
        while self._heard_at() == heard and time.monotonic() < until:
            if stopping.wait(_LOOK_EVERY_SECONDS):
                return

    def seems_lost(self) -> bool:
        """Whether a new connection is worth a try."""
        return self._silence() > _RESTART_AFTER_SECONDS


def _without_repeats(on_event: OnEvent) -> OnEvent:
    """Every attempt says why it failed; that is passed on where it is new."""
    known = ""

    def callback(entry: Entry[events.SiteEvent]) -> bool:
        nonlocal known
        match entry.event:
            case events.Connected():
                known = ""
            case events.NotConnected(reason):
                if reason == known:
                    return False
                known = reason
        return on_event(entry)

    return callback
