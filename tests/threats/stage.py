"""A centre and its sites at work, and an attacker who writes on the wire between them.

The real conversation, desk, registry and ClientApps; only the network is a list. What
the attacker sends stands in for an honest bundle, or an honest release, on its way.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from mos_client.federation.events import SITE_EVENTS, ReleaseRefused
from mos_client.federation.node import journal_path
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_client.store.releases import ReleaseStore
from mos_model.bases.inventory import Inventory
from mos_model.concepts.applying import as_fused
from mos_protocol import Bundle, Reason, Release, ReleasedConcept, SigningKey
from mos_protocol.messages import QUERY_COLLECT, QUERY_DELIVER
from mos_runtime.journal import Event, Journal, JournalReader
from mos_server.federation.carrier import ConversationSettings, Reply
from mos_server.federation.conversation import Conversation
from mos_server.federation.desk import Desk
from mos_server.federation.events import CENTRE_EVENTS, NotDelivered
from mos_server.registry.home import CentreHome
from tests.support.concepts import random_concept
from tests.support.disk import snapshot
from tests.support.sites import Centre
from tests.support.wire import Clock, Wire, answer_as, call, said

STILL = ConversationSettings(wait_seconds=0.0, settle_seconds=float("inf"))
Change = Callable[[bytes], bytes]


@dataclass
class TamperedWire(Wire):
    """A wire whose blobs somebody replaces, who has the keys to sign them as his own.

    So a bundle comes from a hostile site, and a release from a hostile part of the
    centre, and what is tested are the rules of bundles and releases themselves.
    """

    centre_key: SigningKey | None = None
    up: Change | None = None
    """Of bundles, on their way to the centre."""

    down: Change | None = None
    """Of releases, on their way to a site."""

    _calls: dict[str, tuple[SiteHome, str, bytes]] = field(default_factory=dict)
    """Of every message its receiver, action, and envelope as the centre signed it."""

    def send(
        self,
        node: int,
        action: str,
        envelope: bytes,
        blob: bytes | None,
        *,
        ttl_seconds: float,
    ) -> str:
        shown = envelope
        if blob is not None and self.down is not None:
            assert self.centre_key is not None
            blob = self.down(blob)
            shown = call(self.centre_key, action, {}, blob, node=node).envelope
        sent = super().send(node, action, shown, blob, ttl_seconds=ttl_seconds)
        self._calls[sent] = (self.homes[node], action, envelope)
        return sent

    def receive(self, message_ids: Sequence[str]) -> Sequence[Reply]:
        return [self._changed(reply) for reply in super().receive(message_ids)]

    def _changed(self, reply: Reply) -> Reply:
        home, action, envelope = self._calls[reply.message_id]
        if self.up is not None and action == QUERY_COLLECT:
            assert reply.blob is not None
            answer = answer_as(home, {}, self.up(reply.blob))
        elif self.down is not None and action == QUERY_DELIVER:
            answer = answer_as(home, said(reply.envelope))
        else:
            return reply
        return answer(reply.message_id, envelope)


class NeverFusing:
    """A `Fuser` that does nothing: the stage publishes by itself."""

    def start(self) -> None:
        return

    def running(self) -> bool:
        return False

    def failure(self) -> str:
        return ""


@dataclass(frozen=True)
class Told:
    """What both ends know of one refusal."""

    at_the_centre: str
    """The reason on the centre's record."""

    at_the_site: str
    """What the site's own people read."""


class Stage:
    """A centre that has admitted `north/rex` and published release 1; two sites."""

    def __init__(self, folder: Path) -> None:
        """The one that `begin` left in a folder, or in a copy of it."""
        self.centre = Centre.at(folder / "centre")
        self.north = SiteHome.open(folder / "north")
        self.south = SiteHome.open(folder / "south")
        self.first, self.second = (
            Bundle.read(entry.path) for entry in Outbox(self.north).sent()
        )
        self.journal = folder / "journal.jsonl"
        self._begin_to_talk()

    @staticmethod
    def begin(folder: Path) -> None:
        """Let two sites in, admit two bundles, publish and deliver a release."""
        centre = Centre.at(folder / "centre")
        for name in ("north", "south"):
            home = SiteHome.open(folder / name, create=True)
            centre.enrol(home, name)
            for concept in ("rex", "bolt") if name == "north" else ():
                content = random_concept(centre.inventory, concept).to_bytes()
                bundle = Bundle.read(Outbox(home).put(content, name).path)
                verdict = centre.desk.receive(bundle.to_bytes())
                assert Outbox(home).settle(verdict) is not None
        stage = Stage(folder)
        stage.publish("rex")
        stage.talk()
        assert stage.held("north") == stage.held("south") == 1

    def _begin_to_talk(self) -> None:
        self.clock = Clock()
        self.wire = TamperedWire(
            {1: self.north, 2: self.south}, centre_key=self.centre.home.signing_key()
        )
        self._talk = self._conversation()

    def held(self, site: str) -> int:
        """The version that a site holds."""
        home = self.north if site == "north" else self.south
        found = ReleaseStore(home).held()
        return found.version if found else 0

    def use(self, desk: Desk) -> None:
        """Let another desk judge from now on."""
        self.centre = replace(self.centre, desk=desk)
        self._begin_to_talk()

    @property
    def inventory(self) -> Inventory:
        return self.centre.inventory

    def _conversation(self) -> Conversation:
        return Conversation(
            self.centre.registry,
            self.centre.desk,
            self.wire,
            NeverFusing(),
            STILL,
            Journal(self.journal),
            clock=self.clock,
        )

    def talk(self, steps: int = 12) -> None:
        for _ in range(steps):
            self._talk.step()
            self.clock.now += 3.0

    def put(self, home: SiteHome, concept: str, seed: int = 0) -> Bundle:
        content = random_concept(self.inventory, concept, seed=seed).to_bytes()
        return Bundle.read(Outbox(home).put(content, home.name() or "").path)

    def release(self, concept: str, **changes: Any) -> Release:
        """The next release, or one with changes, rightly signed by the centre."""
        newest = self.centre.registry.published.newest()
        arguments: dict[str, Any] = {
            "version": newest.version + 1 if newest else 1,
            "previous": newest.digest if newest else "",
            "concepts": [ReleasedConcept("north", concept, "cat", "1" * 64, "2" * 64)],
            "key": self.centre.home.signing_key(),
            "created": self.first.verified(self.north_key.public).created,
            "expires": 2**33,
        }
        made = as_fused(random_concept(self.inventory, concept), site="north")
        payload = arguments | changes
        content = payload.pop("payload", None) or made.to_bytes()
        return Release.sign(content, **payload)

    @property
    def north_key(self) -> SigningKey:
        return self.north.signing_key()

    def publish(self, concept: str) -> Release:
        """Put the next release into the registry, as the fusion would."""
        release = self.release(concept)
        key = self.centre.home.signing_key().public
        self.centre.registry.published.add(release, release.verified(key))
        return release

    def send(self, content: bytes, *, by: str = "north") -> Told:
        """Let a site's honest bundle become `content` on its way; nothing may move."""
        home = self.north if by == "north" else self.south
        self.put(home, "bait")
        before = self.standing()
        self.wire.up = lambda _: content
        self.talk(4)
        self.wire.up = None
        assert self.standing() == before
        record = self.centre.registry.refusals.all()[-1]
        (refused,) = Outbox(home).refused()
        assert refused.concept == "bait"
        assert refused.reason == f"{record.reason}: {record.text}"
        assert refused.reason.isprintable()
        return Told(record.reason, refused.reason)

    def deliver(self, content: bytes) -> Told:
        """Let the next honest release become `content`; the site's own stays."""
        self.publish("bolt")
        before = self.standing()
        centre_path, site_path = self.journals
        at_centre = JournalReader(centre_path, CENTRE_EVENTS, from_end=True)
        at_site = JournalReader(site_path, SITE_EVENTS, from_end=True)
        self.wire.down = lambda _: content
        self.talk(4)
        self.wire.down = None
        assert self.standing() == before
        undelivered = _only(at_centre, NotDelivered)
        assert undelivered.site == "north"
        return Told(undelivered.reason, _only(at_site, ReleaseRefused).reason)

    @property
    def journals(self) -> tuple[Path, Path]:
        return self.journal, journal_path(self.north)

    def standing(self) -> tuple[Any, ...]:
        """Every row and every file that no attack may move."""
        home = self.centre.home
        files = {
            name: content
            for name, content in snapshot(home.folder).items()
            if not name.startswith((home.database_path.name, "refused/"))
        }
        kept = [snapshot(site.releases) for site in (self.north, self.south)]
        sent = [snapshot(site.sent) for site in (self.north, self.south)]
        held = [ReleaseStore(site).held() for site in (self.north, self.south)]
        return rows(home), files, kept, sent, held


_E = TypeVar("_E", bound=Event)


def _only(journal: JournalReader[Any], kind: type[_E]) -> _E:
    found = [one.event for one in journal.new() if isinstance(one.event, kind)]
    assert found, f"no {kind.kind()} was written"
    return found[0]


def rows(home: CentreHome) -> dict[str, list[Any]]:
    """Every row of every table of the registry, the refusals aside."""
    with closing(sqlite3.connect(home.database_path)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall()
        return {
            name: connection.execute(f"SELECT * FROM {name}").fetchall()
            for (name,) in tables
            if name != "refusals" and not name.startswith("sqlite_")
        }


def reason_of(told: Told) -> Reason:
    """The one reason that both ends give."""
    return Reason(told.at_the_centre)
