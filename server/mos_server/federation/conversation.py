"""The centre's conversation with all its sites at once.

One message at a time is under way to each node, each with a deadline of its own, and no
node is ever waited for: `step` sends what can be sent, takes what has come, and
returns. Bundles and releases, which are large, are under way to a few nodes at a time,
so that what waits in memory does not grow with the number of sites. Content comes to
the desk, which alone judges it; the registry is what is true, so a centre that is
restarted goes on where it was.

Order of what a node is asked: who it is; to tune, where that is wanted; for the bundles
and statements it offers; to take the newest release; and then what is new, with a long
wait.

Deadlines are there for nodes that say nothing more. Where a number of sites is to be
served to the end, answers of others count as well: one is given up only once nobody has
said anything for as long, so a slow machine with many sites is never cut off.
"""

import time
from collections.abc import Callable

from mos_protocol.messages import (
    QUERY_COLLECT,
    QUERY_DELIVER,
    QUERY_SYNC,
    TRAIN_TUNE,
    CollectAsk,
    DeliverAnswer,
    Offer,
    PlainDict,
    SyncAnswer,
    SyncAsk,
    TuneAnswer,
    TuneAsk,
    Verdict,
)
from mos_protocol.signed.bundle import MAX_BUNDLE_BYTES
from mos_runtime.errors import MosError
from mos_runtime.journal import Journal
from mos_server.federation import events
from mos_server.federation.calls import Calls
from mos_server.federation.carrier import (
    Carrier,
    ConversationSettings,
    Flight,
    Fuser,
    Node,
    Reply,
)
from mos_server.federation.desk import Desk
from mos_server.federation.fusing import FusionClerk
from mos_server.federation.nodes import site_of_node, sites_by_node_key
from mos_server.registry.records import ReleaseRecord, TuneOrder
from mos_server.registry.registry import Registry

_MOST_DOUBLINGS = 16
"""Of the pause after a failure: a day and more, which `retry_seconds` cuts."""

_GIVE_UP_AFTER = 3
"""Failures in a row after which a bounded conversation goes on without a node."""


class Conversation:
    """Talks to every connected site through a carrier."""

    def __init__(
        self,
        registry: Registry,
        desk: Desk,
        carrier: Carrier,
        fuser: Fuser,
        settings: ConversationSettings,
        journal: Journal,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is sent before the first `step`.

        Args:
            registry: What is known for good.
            desk: Judges bundles.
            carrier: Carries messages.
            fuser: Publishes releases.
            settings: Waits and deadlines.
            journal: Where events are written.
            clock: Seconds, never going back.
        """
        self._registry, self._desk, self._carrier = registry, desk, carrier
        self._settings, self._journal, self._clock = settings, journal, clock
        self._calls = Calls(registry, carrier.run)
        self._clerk = FusionClerk(registry, fuser, settings, journal, clock)
        self._nodes: dict[int, Node] = {}
        self._strangers: set[int] = set()
        self._parcel: tuple[int, bytes] = (0, b"")
        self._newest: ReleaseRecord | None = None
        self._heard_at = clock()
        self._orders: dict[str, TuneOrder] = {}

    def step(self) -> None:
        """Send what can be sent and take what has come; never waits."""
        self._meet()
        self._take_replies()
        self._give_up()
        collecting = any(self._is_bringing(node) for node in self._nodes.values())
        missing = self._settings.sites > len(self._nodes)
        self._clerk.step(hold=self._settings.sites > 0 and (collecting or missing))
        # After the clerk: what it no longer waits for must be seen here.
        self._newest = self._registry.published.newest()
        now, sites = self._clock(), self._registry.membership.sites()
        # A site that has changed its key must still be told so under the old one.
        shut = {s.key.key_id for s in sites if s.revoked and not s.successor}
        self._orders = _open_orders(self._registry)
        for node in list(self._nodes.values()):
            resting = now < node.not_before or self._is_lost(node)
            if node.idle and not resting and node.key_id not in shut:
                self._ask(node)

    @property
    def finished(self) -> bool:
        """Whether all is done that `ConversationSettings.sites` asked for."""
        if not self._settings.sites or len(self._nodes) < self._settings.sites:
            return False
        return not self._clerk.busy and all(map(self._is_done, self._nodes.values()))

    def _meet(self) -> None:
        connected = self._carrier.nodes()
        for node_id in set(self._nodes) - set(connected):
            node = self._nodes.pop(node_id)
            if node.met:
                self._journal.write(events.Left(site=node.site))
        self._strangers &= set(connected)
        coming = set(connected) - set(self._nodes) - self._strangers
        known = sites_by_node_key(self._registry.membership.sites() if coming else ())
        for node_id in coming:
            node = Node(node_id)
            if self._settings.bind_nodes:
                site = site_of_node(known, connected[node_id])
                if site is None:
                    self._strangers.add(node_id)
                    self._journal.write(events.Stranger(node=str(node_id)))
                    continue
                node.site, node.key_id = site.name, site.key.key_id
            self._nodes[node_id] = node

    def _take_replies(self) -> None:
        flights = {n.flight.message_id: n for n in self._nodes.values() if n.flight}
        if not flights:
            return
        for reply in self._carrier.receive(list(flights)):
            node = flights[reply.message_id]
            flight, node.flight = node.flight, None
            self._heard_at = self._clock()
            assert flight is not None
            if reply.error:
                self._failed(node, flight, reply.error)
                continue
            try:
                self._take(node, flight, reply)
            except MosError as error:
                self._failed(node, flight, str(error))
            else:
                node.failures = 0

    def _take(self, node: Node, flight: Flight, reply: Reply) -> None:
        answered = self._calls.open(node, flight, reply)
        values = answered.values
        if flight.action == QUERY_SYNC:
            sent = {verdict.digest for verdict in flight.verdicts}
            node.verdicts = [v for v in node.verdicts if v.digest not in sent]
            self._registry.bundles.note_notified(sent)
            self._synced(node, answered.signer, SyncAnswer.from_dict(values))
        elif flight.action == QUERY_COLLECT:
            self._collected(node, flight.digest, answered.blob or b"")
        elif flight.action == QUERY_DELIVER:
            self._delivered(node, flight.version, DeliverAnswer.from_dict(values))
        elif flight.action == TRAIN_TUNE:
            self._tuned(node, flight, TuneAnswer.from_dict(values))
        if self._settings.sites:
            self._journal.write(
                events.Received(site=node.site, action=flight.action, bytes=reply.size)
            )

    def _synced(self, node: Node, signer: str, answer: SyncAnswer) -> None:
        known = self._registry.membership.known().get(signer)
        node.key_id = signer
        node.site = known.name if known else answer.site[:64]
        if not node.met:
            node.met = True
            self._journal.write(
                events.Joined(site=node.site, release=answer.release_version)
            )
        node.release = answer.release_version
        if not self._consider(node, answer.offers):
            node.not_before = self._clock() + self._settings.rest_seconds

    def _consider(self, node: Node, offers: tuple[Offer, ...]) -> bool:
        """Note what is to be collected or sent; whether anything is to be collected."""
        digests = [offer.digest for offer in offers]
        bundles = self._registry.bundles
        judged = bundles.verdicts_for(node.key_id, digests)
        judged += bundles.news_for(node.key_id)
        done = {verdict.digest for verdict in judged}
        due: list[Offer] = []
        for offer in offers:
            if node.uncollected.get(offer.digest, float("-inf")) > self._clock():
                break  # counters only rise: a later bundle would bar this one
            if offer.digest not in done:
                due.append(offer)
        # What exceeds the site's hourly rate waits at the site.
        del due[bundles.room(node.key_id, int(time.time())) :]
        node.verdicts, node.offers = list(judged), due
        return bool(due)

    def _collected(self, node: Node, digest: str, content: bytes) -> None:
        verdict = self._desk.receive(content, sender_key_id=node.key_id, offered=digest)
        # The site knows its bundle by the digest it offered, whatever came.
        node.verdicts.append(Verdict(digest, verdict.accepted, verdict.reason))
        kind = events.Accepted if verdict.accepted else events.Refused
        self._journal.write(
            kind(
                site=node.site, digest=digest, reason=verdict.reason, bytes=len(content)
            )
        )

    def _delivered(self, node: Node, version: int, answer: DeliverAnswer) -> None:
        node.release = answer.version
        # Whatever a site says it holds, it gets one version once per such pause.
        node.undelivered = (version, self._clock() + self._settings.retry_seconds)
        if answer.accepted:
            size = len(self._newest_parcel()[1])
            self._journal.write(
                events.Delivered(site=node.site, version=version, bytes=size)
            )
            return
        self._journal.write(
            events.NotDelivered(site=node.site, version=version, reason=answer.reason)
        )

    def _tuned(self, node: Node, flight: Flight, answer: TuneAnswer) -> None:
        node.tuned = True
        self._consider(node, answer.offers)
        if answer.later and flight.order:
            node.ask_after = self._clock() + self._settings.ask_again_seconds
            if self._registry.orders.postpone(flight.order, answer.error):
                self._journal.write(
                    events.TunePostponed(site=node.site, reason=answer.error)
                )
            return
        self._answer_order(flight, answer.error)
        if answer.error:
            self._journal.write(events.TuneFailed(site=node.site, reason=answer.error))
        else:
            self._journal.write(events.Tuned(site=node.site))

    def _answer_order(self, flight: Flight, error: str) -> None:
        if flight.order:
            now = int(time.time())
            self._registry.orders.answer(flight.order, error, now=now)

    def _failed(self, node: Node, flight: Flight, error: str) -> None:
        now, settings = self._clock(), self._settings
        pause = settings.rest_seconds * 2 ** min(node.failures, _MOST_DOUBLINGS)
        node.not_before = now + min(pause, settings.retry_seconds)
        node.failures += 1
        if flight.action == QUERY_COLLECT:
            node.uncollected[flight.digest] = now + settings.retry_seconds
            node.offers.clear()
        elif flight.action == QUERY_DELIVER:
            node.undelivered = (flight.version, now + settings.retry_seconds)
        elif flight.action == TRAIN_TUNE:
            node.tuned = True
            self._answer_order(flight, error)
        self._journal.write(
            events.Failed(site=node.site, action=flight.action, reason=error)
        )

    def _give_up(self) -> None:
        others = float("-inf")
        if self._settings.sites:
            others = self._heard_at + self._settings.grace_seconds
        for node in self._nodes.values():
            flight = node.flight
            if flight is not None and self._clock() > max(flight.deadline, others):
                node.flight = None
                self._failed(node, flight, "no answer in time")

    def _ask(self, node: Node) -> None:
        settings = self._settings
        if not node.met:
            self._sync(node, 0.0)
        elif settings.tune is not None and not node.tuned:
            self._send(node, TRAIN_TUNE, settings.tune.to_dict(), settings.tune_seconds)
        elif self._has_order(node):
            order = self._orders.pop(node.site)
            wish = TuneAsk(order.steps, order.seed, order.rank, order.concept)
            flight = self._send(node, TRAIN_TUNE, wish.to_dict(), settings.tune_seconds)
            flight.order = order.number
        elif node.offers:
            if not self._has_room():
                return
            offer = node.offers.pop(0)
            # A site says how much it offers; no more time than for the most admitted.
            size = min(offer.bytes, MAX_BUNDLE_BYTES)
            seconds = size / settings.slowest_bytes_per_second
            ask = CollectAsk(offer.digest).to_dict()
            flight = self._send(node, QUERY_COLLECT, ask, seconds)
            flight.digest = offer.digest
        elif self._is_behind(node):
            if not self._has_room():
                return
            version, content = self._newest_parcel()
            seconds = len(content) / settings.slowest_bytes_per_second
            flight = self._send(node, QUERY_DELIVER, None, seconds, content)
            flight.version = version
        elif settings.sites:
            if node.verdicts:
                self._sync(node, 0.0)
        else:
            # A site that waits cannot take a release; while one is due, wait shortly.
            wait = settings.wait_seconds
            self._sync(node, wait / 4 if self._clerk.busy else wait)

    def _has_order(self, node: Node) -> bool:
        """Whether it may be asked to tune; what it brings already comes first."""
        waiting = node.site in self._orders and not node.offers
        return waiting and self._clock() >= node.ask_after

    def _has_room(self) -> bool:
        """Whether one more bundle or release may be under way."""
        flights = [node.flight for node in self._nodes.values() if node.flight]
        parcels = sum(one.action in (QUERY_COLLECT, QUERY_DELIVER) for one in flights)
        return parcels < self._settings.parcels_at_once

    def _sync(self, node: Node, wait: float) -> None:
        newest, verdicts = self._newest, tuple(node.verdicts)
        ask = SyncAsk(float(wait), verdicts, newest.version if newest else 0)
        flight = self._send(node, QUERY_SYNC, ask.to_dict(), wait)
        flight.verdicts = verdicts

    def _send(
        self,
        node: Node,
        action: str,
        values: PlainDict | None,
        seconds: float,
        blob: bytes | None = None,
    ) -> Flight:
        settings = self._settings
        whole = seconds + settings.grace_seconds
        # Where a deadline may move, the message must outlive it.
        lives = settings.tune_seconds if settings.sites else whole
        call = self._calls.sign(node, action, values, blob, ttl_seconds=lives)
        message_id = self._carrier.send(
            node.node_id, action, call.envelope, blob, ttl_seconds=lives
        )
        flight = Flight(message_id, action, self._clock() + whole, call.digest)
        if message_id:
            node.flight = flight
        else:
            node.not_before = self._clock() + self._settings.rest_seconds
        return flight

    def _newest_parcel(self) -> tuple[int, bytes]:
        newest = self._newest
        assert newest is not None
        if self._parcel[0] != newest.version:
            content = self._registry.published.read(newest.version).to_bytes()
            self._parcel = (newest.version, content)
        return self._parcel

    def _is_behind(self, node: Node) -> bool:
        newest = self._newest
        if newest is None or node.release >= newest.version:
            return False
        version, again = node.undelivered
        return version != newest.version or self._clock() >= again

    def _is_bringing(self, node: Node) -> bool:
        """Whether a node may still bring a bundle by itself."""
        if self._is_lost(node):
            return False
        if not node.met or node.offers:
            return True
        if self._settings.tune is not None and not node.tuned:
            return True
        return node.flight is not None and node.flight.action == QUERY_COLLECT

    def _is_lost(self, node: Node) -> bool:
        return bool(self._settings.sites) and node.failures >= _GIVE_UP_AFTER

    def _is_done(self, node: Node) -> bool:
        if self._is_lost(node):
            return True
        waits = self._is_bringing(node) or node.verdicts or not node.idle
        return not waits and not self._is_behind(node)


def _open_orders(registry: Registry) -> dict[str, TuneOrder]:
    """The oldest order of each site that it has not answered."""
    waiting: dict[str, TuneOrder] = {}
    for order in registry.orders.all(waiting=True):
        waiting.setdefault(order.site, order)
    return waiting
