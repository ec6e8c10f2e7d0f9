"""The site's end of the federation: Flower's ClientApp.

Only four actions exist, and every one reads and writes this site's own home. Bundles
leave as they were signed; a release is checked before anything of it is kept; and of an
exception only the class name leaves, never its text, which may hold a path. The one
text that leaves is the reason why this site's policy refused to tune.

Flower starts a new process for every message: nothing lives in memory between two, and
torch is imported only by the one action that tunes.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from mos_client.errors import IdentityError, NotNowError, PolicyError
from mos_client.federation.bases import inventory_here
from mos_client.federation.node import HEARD_FILE, Site, site_of
from mos_client.store.enrolment import read_welcome, site_name
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox, OutboxEntry
from mos_client.store.releases import ReleaseStore
from mos_client.store.requests import RequestEntry, Requests
from mos_protocol.errors import ReleaseError
from mos_protocol.flower_records import blob_of, to_records, values_of
from mos_protocol.messages import (
    MAX_ITEMS,
    CollectAsk,
    DeliverAnswer,
    Offer,
    SyncAnswer,
    SyncAsk,
    TuneAnswer,
    TuneAsk,
    Verdict,
)
from mos_runtime.errors import MosError

SiteFinder = Callable[[Context], Site]

LONGEST_WAIT_SECONDS: Final = 300.0
"""However long the centre asks a site to wait."""

_LOOK_EVERY_SECONDS: Final = 0.2
_TOUCH_EVERY_SECONDS: Final = 10.0
_FAILED: Final = 2
"""Flower's code for an exception in a ClientApp."""


def sync(site: Site, message: Message) -> Message:
    """Take the centre's verdicts; answer at an offer, or when the wait is over."""
    ask = SyncAsk.from_dict(values_of(message.content))
    outbox = Outbox(site.home)
    for verdict in ask.verdicts:
        if _settled_request(site, verdict):
            continue
        settled = outbox.settle(verdict)
        if settled is None:
            continue
        kind = "accepted" if verdict.accepted else "refused"
        site.journal.write(kind, concept=settled.concept, reason=settled.reason)
    until = time.monotonic() + min(ask.wait_seconds, LONGEST_WAIT_SECONDS)
    while not _offers(site.home) and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_SECONDS)
    held = ReleaseStore(site.home).held()
    answer = SyncAnswer(
        site=site_name(site.home),
        key_id=site.home.signing_key().public.key_id,
        offers=_offers(site.home),
        release_version=held.version if held else 0,
        release_digest=held.digest if held else "",
    )
    return Message(to_records(answer.to_dict()), reply_to=message)


def collect(site: Site, message: Message) -> Message:
    """Hand over a bundle or a statement, as it was signed; asked again, do so again."""
    ask = CollectAsk.from_dict(values_of(message.content))
    request = Requests(site.home).blob(ask.digest)
    if request is not None:
        return Message(to_records(blob=request), reply_to=message)
    outbox = Outbox(site.home)
    content = outbox.bundle(ask.digest).to_bytes()
    entries = {entry.digest: entry for entry in (*outbox.entries(), *outbox.sent())}
    concept = entries[ask.digest].concept
    site.journal.write("sent", concept=concept, bytes=len(content))
    return Message(to_records(blob=content), reply_to=message)


def deliver(site: Site, message: Message) -> Message:
    """Check a release and keep it, or refuse it and keep the one held."""
    store = ReleaseStore(site.home)
    content = blob_of(message.content)
    welcome = read_welcome(site.home)
    if welcome is None:
        raise IdentityError("this site has no welcome, and so no centre to trust")
    try:
        inventory = inventory_here(site.home, welcome.base)
        facts = store.take(content, welcome=welcome, inventory=inventory)
    except ReleaseError as error:
        held = store.held()
        site.journal.write("release-refused", reason=str(error))
        refusal = DeliverAnswer(False, str(error.reason), held.version if held else 0)
        return Message(to_records(refusal.to_dict()), reply_to=message)
    site.journal.write(
        "release",
        version=facts.version,
        concepts=[f"{one.site}/{one.concept}" for one in facts.concepts],
        bytes=len(content),
    )
    answer = DeliverAnswer(True, "", facts.version)
    return Message(to_records(answer.to_dict()), reply_to=message)


def tune(site: Site, message: Message) -> Message:
    """Tune this site's concept and put it into the outbox, where the site allows it."""
    ask = TuneAsk.from_dict(values_of(message.content))
    error, later = "", False
    try:
        from mos_client.federation.orders import allowed_tuning, tune_into_outbox

        tuning = site.tuning or allowed_tuning(site, ask, read_welcome(site.home))
        with _at_work(site):
            tune_into_outbox(site, tuning, ask)
    except PolicyError as refusal:
        site.journal.write("tune-refused", concept=ask.concept, reason=str(refusal))
        error, later = str(refusal), isinstance(refusal, NotNowError)
    except MosError as failure:
        site.journal.write("tune-failed", error=str(failure))
        error = type(failure).__name__
    answer = TuneAnswer(_offers(site.home), error, later)
    return Message(to_records(answer.to_dict()), reply_to=message)


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
            "request-refused", concept=settled.concept, reason=verdict.reason
        )
    elif settled.concept:
        site.journal.write("withdrawn", concept=settled.concept)
    else:
        site.journal.write("key-changed", key=site.home.signing_key().public.short)
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

    def touched(context: Context) -> Site:
        site = find_site(context)
        site.home.flower.mkdir(parents=True, exist_ok=True)
        (site.home.flower / HEARD_FILE).touch()
        return site

    def redact(
        message: Message, context: Context, call_next: ClientAppCallable
    ) -> Message:
        """Answer an exception with its class name alone; its text stays here."""
        try:
            return call_next(message, context)
        except Exception as error:
            try:
                journal = touched(context).journal
                action = message.metadata.message_type
                journal.write("failed", action=action, error=str(error))
            except MosError:
                pass  # a node without a home has no journal either
            return Message(Error(_FAILED, type(error).__name__), reply_to=message)

    def handler(action: Callable[[Site, Message], Message]) -> ClientAppCallable:
        return lambda message, context: action(touched(context), message)

    made = ClientApp(mods=[redact])
    made.query("sync")(handler(sync))
    made.query("collect")(handler(collect))
    made.query("deliver")(handler(deliver))
    made.train("tune")(handler(tune))
    return made


app = site_app(lambda context: site_of(context.node_config))
