"""`mos-server serve` without its terminal: a SuperLink and one endless run, kept alive.

One `serve` at a time runs from a home: it holds `serving.lock`.

The SuperLink keeps its state in memory and may be restarted at any time; the run is
submitted anew whenever it is not there. Only the Fleet API, which sites connect to,
listens on the centre's address; Control and Runtime API stay on loopback. Node keys of
sites are registered as the registry changes, so that a site can be admitted, or its
door be shut, while the centre serves.
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mos_runtime.errors import MosError
from mos_runtime.files import write_atomically
from mos_runtime.flower_env import check_listening, is_loopback, split_address
from mos_runtime.journal import Entry, JournalReader
from mos_runtime.locking import HeldError, locked
from mos_runtime.processes import BackOff, Stopping
from mos_server.errors import RegistryError, ServingError
from mos_server.federation import events
from mos_server.federation.events import CENTRE_EVENTS, CentreEvent
from mos_server.federation.names import ALIVE_FILE, JOURNAL_FILE
from mos_server.federation.nodes import sites_by_node_key
from mos_server.registry.home import HOME_VARIABLE, CentreHome
from mos_server.registry.records import SiteRecord
from mos_server.registry.registry import Registry
from mos_server.registry.sites.node_keys import openssh_form
from mos_server.serving.monitoring import monitored
from mos_server.serving.status import (
    STALE_AFTER_SECONDS,
    centre_status,
    has_ended,
    status_line,
)
from mos_server.serving.superlink import CONNECTION, FLOWER_APP, SuperLink
from mos_server.serving.tls import Certificates, ensure_certificates
from mos_server.serving.watching import Watch

_LOOK_EVERY_SECONDS: Final = 0.3
_LOOK_AT_SITES_EVERY_SECONDS: Final = 1.0
_LOOK_AT_CERTIFICATE_EVERY_SECONDS: Final = 3600.0
_HEALTHY_AFTER_SECONDS: Final = 60.0

OnEvent = Callable[[Entry[CentreEvent]], None]
OnStatus = Callable[[str], None]


@dataclass(frozen=True)
class ServeSettings:
    """How a centre serves."""

    address: str
    """HOST:PORT of the Fleet API, which sites connect to."""

    base: str = "mini"
    """The base of all concepts."""

    device: str = "auto"
    """Where fusion computes, as `mos_model.devices.pick_device` takes it."""

    gate: bool = True
    """Whether a release is measured before it is published."""

    insecure: bool = False
    """Without TLS and node keys; only on loopback."""

    hosts: tuple[str, ...] = ()
    """Further names that sites reach the centre by, for its certificate."""

    settle_seconds: float = 5.0
    """How long after the last accepted bundle a fusion begins."""

    longest_settle_seconds: float = 300.0
    """A fusion begins at the latest so long after a release became due."""

    wait_seconds: float = 20.0
    """How long a site's answer may wait for something to say."""

    keep_releases: int = 10
    """How many releases are kept whole; of older ones only the envelope is."""

    metrics_port: int | None = None
    """Loopback port of `/healthz` and `/metrics`; none without."""

    def __post_init__(self) -> None:
        """Refuse what would be open to everyone.

        Raises:
            AddressError: `address` is not HOST:PORT.
            ServingError: without TLS on an address that others can reach.
        """
        host, _ = split_address(self.address)
        if self.insecure and not is_loopback(host):
            raise ServingError(
                f"--insecure on {self.address}: without TLS and node keys a centre "
                "listens on loopback only; leave --insecure out"
            )


def serve_centre(
    home: CentreHome,
    settings: ServeSettings,
    *,
    stopping: Stopping,
    on_event: OnEvent,
    on_status: OnStatus | None = None,
) -> None:
    """Serve until told to stop; nothing is left running.

    Args:
        home: The centre's.
        settings: Address, base, waits.
        stopping: Ends it.
        on_event: Called with what happens.
        on_status: Called after every event with the centre's state, in one line.

    Raises:
        AddressError: the address cannot be listened on.
        ServingError: another one serves from this home, the metrics' port is taken,
            or the SuperLink cannot be started at all.
    """
    registry, watch = Registry(home), Watch(home, settings.address)

    def status() -> dict[str, Any]:
        return centre_status(home, registry, watch.facts)

    def tell(entry: Entry[CentreEvent]) -> None:
        watch.see(entry)
        watch.write()
        on_event(entry)
        # A full disk must not end the service; what is left out here comes again.
        with suppress(MosError):
            if isinstance(entry.event, events.Published):
                registry.published.prune(settings.keep_releases)
                registry.bundles.prune()  # what the release before held
            if on_status is not None:
                on_status(status_line(status()))

    with ExitStack() as stack:
        try:
            stack.enter_context(locked(home.serving_lock, timeout_seconds=0.5))
        except HeldError as error:
            raise ServingError(
                f"{home.folder}: another `mos-server serve` runs from this home; stop "
                "that one, or pass another --home"
            ) from error
        check_listening(settings.address)
        if settings.metrics_port is not None:
            port = stack.enter_context(monitored(settings.metrics_port, status))
            tell(Entry(events.Monitored(port)))
        _serve(home, settings, stopping, tell)


def _serve(
    home: CentreHome, settings: ServeSettings, stopping: Stopping, on_event: OnEvent
) -> None:
    reader = JournalReader(home.flower / JOURNAL_FILE, CENTRE_EVENTS, from_end=True)
    back_off = BackOff()
    ever_ready = False
    while not stopping:
        started = time.monotonic()
        superlink = _start_superlink(home, settings, _certificates(home, settings))
        try:
            superlink.wait_until_ready(stopping)
            if not stopping:
                ever_ready = True
                on_event(Entry(events.Listening(settings.address)))
                service = _Service(home, settings, superlink, reader, on_event)
                service.run(stopping)
        except ServingError as error:
            if not ever_ready:
                raise
            on_event(Entry(events.Restarting(str(error))))
        finally:
            superlink.family.stop()
        for entry in reader.new():
            on_event(entry)
        if time.monotonic() - started > _HEALTHY_AFTER_SECONDS:
            back_off.worked()
        if not stopping:
            stopping.wait(back_off.failed())


def _certificates(home: CentreHome, settings: ServeSettings) -> Certificates | None:
    """For TLS, issued anew where they near their end; none without."""
    if settings.insecure:
        return None
    host, _ = split_address(settings.address)
    hosts = () if host in ("0.0.0.0", "::") else (host,)
    return ensure_certificates(home.tls, [*hosts, *settings.hosts])


def _start_superlink(
    home: CentreHome, settings: ServeSettings, certificates: Certificates | None
) -> SuperLink:
    arguments = ["--fleet-api-address", settings.address]
    if certificates is not None:
        arguments += ["--enable-supernode-auth"]
    variables = {HOME_VARIABLE: str(home.folder.resolve())}
    return SuperLink(home.flower, arguments, certificates=certificates, **variables)


class _Service:
    """What goes on while one SuperLink is up: node keys, and the run."""

    def __init__(
        self,
        home: CentreHome,
        settings: ServeSettings,
        superlink: SuperLink,
        reader: JournalReader[CentreEvent],
        on_event: OnEvent,
    ) -> None:
        self._home, self._settings, self._superlink = home, settings, superlink
        self._reader, self._on_event = reader, on_event
        self._registry = Registry(home)
        self._nodes: dict[bytes, str] = {}
        self._looked_at = float("-inf")
        self._run_id = ""
        self._submitted_at = 0.0
        self._back_off = BackOff()
        self._certificate = superlink.certificate_stamp()
        self._certificate_at = time.monotonic()

    def run(self, stopping: Stopping) -> None:
        """Until stopped, or until the SuperLink is gone.

        Raises:
            ServingError: it is gone.
        """
        while not stopping.wait(_LOOK_EVERY_SECONDS):
            for event in self._reader.new():
                self._on_event(event)
            self._superlink.family.reap()
            if self._superlink.family.exit_code() is not None:
                raise ServingError(
                    f"Flower's SuperLink ended: {self._superlink.last_words()}"
                )
            self._renew_certificate()
            if self._superlink.certificate_stamp() != self._certificate:
                # It was near its end, or `mos-server admit` named a further host.
                raise ServingError("there is a new certificate")
            self._keep_nodes()
            self._keep_run(stopping)

    def _renew_certificate(self) -> None:
        now = time.monotonic()
        if now - self._certificate_at > _LOOK_AT_CERTIFICATE_EVERY_SECONDS:
            self._certificate_at = now
            _certificates(self._home, self._settings)

    def _keep_nodes(self) -> None:
        """Open or shut one door at a time, shutting first.

        Flower's command takes seconds; with many sites nobody waits for all of them, be
        it an event, the run, or whoever stops the centre.
        """
        now = time.monotonic()
        if self._settings.insecure or now - self._looked_at < (
            _LOOK_AT_SITES_EVERY_SECONDS
        ):
            return
        self._looked_at = now
        sites = self._registry.membership.sites()
        owners = sites_by_node_key(sites)
        for site in sorted(sites, key=lambda one: not one.revoked):
            if site.successor:
                continue  # its node goes on under the site's next key
            if self._keep_node(site, owners):
                self._looked_at = float("-inf")  # there may be more to do
                return

    def _keep_node(self, site: SiteRecord, owners: Mapping[bytes, SiteRecord]) -> bool:
        """Whether there was anything to do for a site's node."""
        try:
            key = openssh_form(site.node_key)
        except RegistryError as error:
            if site.node_key not in self._nodes:
                self._nodes[site.node_key] = ""
                self._note(events.NotRegistered(site.name, str(error)))
            return False
        if owners[key] != site:
            return False  # the door is another site's
        if not site.revoked and key not in self._nodes:
            self._nodes[key] = self._register(site.name, key)
            return True
        if site.revoked and self._nodes.get(key):
            self._superlink.flwr(
                "supernode", "unregister", self._nodes.pop(key), CONNECTION
            )
            self._note(events.DoorShut(site.name))
            return True
        return False

    def _register(self, site: str, key: bytes) -> str:
        path = self._home.flower / f"node-{site}.pub"
        write_atomically(path, key + b"\n")
        answer = self._superlink.flwr(
            "supernode", "register", str(path), CONNECTION, "--name", site
        )
        node = str(answer.get("node-id") or "")
        if node:
            self._note(events.DoorOpen(site))
        else:
            reason = str(answer.get("error-message") or answer)
            self._note(events.NotRegistered(site, reason))
        return node

    def _keep_run(self, stopping: Stopping) -> None:
        if self._run_id:
            alive_at = self._alive_at()
            quiet = time.time() - max(self._submitted_at, alive_at)
            gone = alive_at > self._submitted_at and has_ended(self._home)
            if quiet < STALE_AFTER_SECONDS and not gone:
                return
            status = self._superlink.status(self._run_id)
            if status and not status.startswith("finished"):
                self._superlink.flwr("stop", self._run_id, CONNECTION)
            self._note(events.Resubmitting(status or "the run has ended"))
            self._run_id = ""
            if stopping.wait(self._back_off.failed()):
                return
        self._run_id = self._superlink.submit(
            FLOWER_APP, "--run-config", str(self._run_config())
        )
        self._submitted_at = time.time()

    def _alive_at(self) -> float:
        path = self._home.flower / ALIVE_FILE
        return path.stat().st_mtime if path.exists() else 0.0

    def _run_config(self) -> Path:
        path = self._home.flower / "run.toml"
        lines = [
            f"base = {json.dumps(self._settings.base)}",
            f"device = {json.dumps(self._settings.device)}",
            f"gate = {json.dumps(self._settings.gate)}",
            f"node-auth = {json.dumps(not self._settings.insecure)}",
            f"wait-seconds = {float(self._settings.wait_seconds)}",
            f"settle-seconds = {float(self._settings.settle_seconds)}",
            f"longest-settle-seconds = {float(self._settings.longest_settle_seconds)}",
        ]
        write_atomically(path, ("\n".join(lines) + "\n").encode())
        return path

    def _note(self, event: CentreEvent) -> None:
        self._on_event(Entry(event))
