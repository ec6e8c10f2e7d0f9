"""The site's end of the federation: Flower's ClientApp.

Only four actions exist, and every one reads and writes this site's own home. Before
any of them begins, the call is verified to be the centre's, for this node and unused
(`mos_protocol.signed.call`); every answer is signed. Bundles leave as they were signed;
a release is checked before anything of it is kept; and of an exception only the class
name leaves, never its text, which may hold a path. The one text that leaves is the
reason why this site's policy refused to tune.

Flower starts a new process for every message: nothing lives in memory between two, and
torch is imported only by the one action that tunes.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from mos_client.errors import IdentityError, NotNowError, PolicyError
from mos_client.federation import events
from mos_client.federation.bases import inventory_here
from mos_client.federation.node import HEARD_FILE, Site, site_of
from mos_client.store.calls import take_call
from mos_client.store.enrolment import read_welcome, site_name
from mos_client.store.freshness import note_newest
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox, OutboxEntry
from mos_client.store.releases import ReleaseStore
from mos_client.store.requests import RequestEntry, Requests
from mos_protocol.errors import CallError, ReleaseError
from mos_protocol.flower_records import blob_of, envelope_of, to_records
from mos_protocol.messages import (
    MAX_ITEMS,
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
from mos_protocol.signed.call import Address, Call, sign_answer
from mos_runtime.errors import MosError
from mos_runtime.processes import end_with_parent

SiteFinder = Callable[[Context], Site]
Answered = tuple[PlainDict | None, bytes | None]
"""The values and the blob of an answer."""

LONGEST_WAIT_SECONDS: Final = 300.0
"""However long the centre asks a site to wait."""

_LOOK_EVERY_SECONDS: Final = 0.2
_TOUCH_EVERY_SECONDS: Final = 10.0
_FAILED: Final = 2
"""Flower's code for an exception in a ClientApp."""


def sync(site: Site, call: Call, _: bytes | None) -> Answered:
    """Note which release is the newest and take the centre's verdicts.

    The answer is given at an offer, or when the wait is over.
    """
    ask = SyncAsk.from_dict(call.values)
    held = ReleaseStore(site.home).held()
    note_newest(
        site.home,
        ask.newest_release,
        stated=call.created,
        held=held.version if held else 0,
    )
    outbox = Outbox(site.home)
    for verdict in ask.verdicts:
        if _settled_request(site, verdict):
            continue
        settled = outbox.settle(verdict)
        if settled is None:
            continue
        settle = events.Accepted if verdict.accepted else events.Refused
        site.journal.write(settle(settled.concept, settled.reason))
    until = time.monotonic() + min(ask.wait_seconds, LONGEST_WAIT_SECONDS)
    while not _offers(site.home) and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_SECONDS)
    held = ReleaseStore(site.home).held()
    answer = SyncAnswer(
        site=site_name(site.home),
        offers=_offers(site.home),
        release_version=held.version if held else 0,
        release_digest=held.digest if held else "",
    )
    return answer.to_dict(), None


def collect(site: Site, call: Call, _: bytes | None) -> Answered:
    """Hand over a bundle or a statement, as it was signed; as often as requested."""
    ask = CollectAsk.from_dict(call.values)
    request = Requests(site.home).blob(ask.digest)
    if request is not None:
        return None, request
    outbox = Outbox(site.home)
    content = outbox.bundle(ask.digest).to_bytes()
    entries = {entry.digest: entry for entry in (*outbox.entries(), *outbox.sent())}
    concept = entries[ask.digest].concept
    site.journal.write(events.Sent(concept=concept, bytes=len(content)))
    return None, content


def deliver(site: Site, _: Call, blob: bytes | None) -> Answered:
    """Check a release and keep it, or refuse it and keep the one held."""
    store, content = ReleaseStore(site.home), blob or b""
    welcome = read_welcome(site.home)
    if welcome is None:
        raise IdentityError("this site has no welcome, and so no centre to trust")
    try:
        inventory = inventory_here(site.home, welcome.base)
        facts = store.take(content, welcome=welcome, inventory=inventory)
    except ReleaseError as error:
        held = store.held()
        site.journal.write(events.ReleaseRefused(reason=str(error)))
        refusal = DeliverAnswer(False, str(error.reason), held.version if held else 0)
        return refusal.to_dict(), None
    site.journal.write(
        events.Release(
            version=facts.version,
            concepts=tuple(f"{one.site}/{one.concept}" for one in facts.concepts),
            bytes=len(content),
        )
    )
    return DeliverAnswer(True, "", facts.version).to_dict(), None


def tune(site: Site, call: Call, _: bytes | None) -> Answered:
    """Tune this site's concept and put it into the outbox, where the site allows it."""
    ask = TuneAsk.from_dict(call.values)
    error, later = "", False
    try:
        from mos_client.federation.orders import allowed_tuning, tune_into_outbox

        tuning = site.tuning or allowed_tuning(site, ask, read_welcome(site.home))
        with _at_work(site):
            tune_into_outbox(site, tuning, ask)
    except PolicyError as refusal:
        site.journal.write(events.TuneRefused(concept=ask.concept, reason=str(refusal)))
        error, later = str(refusal), isinstance(refusal, NotNowError)
    except MosError as failure:
        site.journal.write(events.TuneFailed(error=str(failure)))
        error = type(failure).__name__
    return TuneAnswer(_offers(site.home), error, later).to_dict(), None


@contextmanager
def _at_work(site: Site) -> Iterator[None]:
    """Within it, whoever watches sees that the silence is this site's own."""
    done = threading.Event()

    def touch() -> None:
        while not done.wait(_TOUCH_EVERY_SECONDS):
            (site.home.flower / HEARD_FILE).touch()

    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _settled_request(site: Site, verdict: Verdict) -> bool:
    """Whether a verdict was on a statement; it is done what the verdict allows."""
    settled = Requests(site.home).settle(verdict)
    if settled is None:
        return False
    if not verdict.accepted:
        site.journal.write(
            events.RequestRefused(concept=settled.concept, reason=verdict.reason)
        )
    elif settled.concept:
        site.journal.write(events.Withdrawn(concept=settled.concept))
    else:
        site.journal.write(events.KeyChanged(key=site.home.signing_key().public.short))
    return True


def _offers(home: SiteHome) -> tuple[Offer, ...]:
    """What waits, in the order of signing: a later one would bar an earlier.

    Nothing follows on a change of key: it is signed anew once that is through.
    """
    waiting: list[OutboxEntry | RequestEntry] = []
    waiting += [*Outbox(home).entries(), *Requests(home).entries()]
    waiting.sort(key=lambda entry: entry.counter)
    del waiting[MAX_ITEMS:]
    changes = [place for place, entry in enumerate(waiting) if not entry.concept]
    return tuple(
        Offer(entry.concept, entry.digest, entry.counter, entry.bytes)
        for entry in waiting[: changes[0] + 1 if changes else None]
    )


def site_app(find_site: SiteFinder) -> ClientApp:
    """A ClientApp that answers the four actions for the site that a context names.

    Args:
        find_site: The site of a Flower context; raises MosError where there is none.
    """

    def redact(
        message: Message, context: Context, call_next: ClientAppCallable
    ) -> Message:
        """Answer an exception with its class name alone; its text stays here."""
        try:
            return call_next(message, context)
        except Exception as error:
            action = message.metadata.message_type
            with suppress(MosError):  # a node without a home has no journal either
                journal = find_site(context).journal
                if isinstance(error, CallError):
                    reason = f"{error.reason}: {error}"
                    journal.write(events.CallRefused(action=action, reason=reason))
                else:
                    journal.write(events.Failed(action=action, error=str(error)))
            return Message(Error(_FAILED, type(error).__name__), reply_to=message)

    def handler(action: Callable[..., Answered]) -> ClientAppCallable:
        """Verify the call before anything is done, and sign the answer."""

        def handle(message: Message, context: Context) -> Message:
            site = find_site(context)
            at = Address(context.node_id, context.run_id, message.metadata.message_type)
            content = message.content
            envelope, blob = envelope_of(content), blob_of(content)
            call = take_call(site.home, envelope, blob, at)
            site.home.flower.mkdir(parents=True, exist_ok=True)
            (site.home.flower / HEARD_FILE).touch()
            values, back = action(site, call, blob)
            key = site.home.signing_key()
            answer = sign_answer(call, values, back, key=key)
            return Message(to_records(answer, back), reply_to=message)

        return handle

    made = ClientApp(mods=[redact])
    made.query("sync")(handler(sync))
    made.query("collect")(handler(collect))
    made.query("deliver")(handler(deliver))
    made.train("tune")(handler(tune))
    return made


def _site_here(context: Context) -> Site:
    end_with_parent()
    return site_of(context.node_config)


app = site_app(_site_here)
