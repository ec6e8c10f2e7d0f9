"""Tuning that the centre asked for: what `mos-client tune` does, without a terminal."""

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mos_client.errors import PolicyError
from mos_client.federation.node import Site, SiteTuning
from mos_client.federation.policy import Policy
from mos_client.store.enrolment import site_name
from mos_client.store.outbox import Outbox
from mos_model.bases.base_files import read_inventory
from mos_protocol.messages import TuneAsk
from mos_protocol.signed.enrolment import Welcome
from mos_runtime.journal import Journal

if TYPE_CHECKING:
    from mos_client.tuning import OnProgress, TuneProgress

_SECONDS_BETWEEN_EVENTS: Final = 0.5


def allowed_tuning(site: Site, ask: TuneAsk, welcome: Welcome | None) -> SiteTuning:
    """What a real site tunes on when its centre asks, as far as its policy allows.

    Raises:
        PolicyError: it does not, and why; the text may leave the site. `NotNowError`
            where it would at another hour.
        MosError: the policy or a base cannot be read.
    """
    policy = Policy.read(site.home.policy_path)
    if policy is None or welcome is None:
        raise PolicyError("this site does not tune on request")
    folder = policy.folder_for(ask)
    for base in policy.bases:
        if read_inventory(base).base == welcome.base:
            policy.check_hour(time.localtime().tm_hour)
            return SiteTuning(
                folder, base, None, ask.seed, os.cpu_count() or 1, policy.max_steps
            )
    raise PolicyError("this site does not allow the base of this federation")


def tune_into_outbox(site: Site, tuning: SiteTuning, ask: TuneAsk) -> None:
    """Tune one concept on a folder of pictures and sign it into the outbox.

    The folder may hold a `concept.toml`; without one the name is the folder's, and the
    base itself names the class. Progress goes to the journal.

    Args:
        site: Whose outbox.
        tuning: Pictures, base and settings; fields set in `ask` take precedence.
        ask: The centre's request.

    Raises:
        MosError: the pictures or the base cannot be used, or the tuning failed.
    """
    site.journal.write("preparing", what="loading the base")
    import torch

    from mos_client.tuning.run import TuneCallbacks, TuneRequest, checked, tuned
    from mos_model.bases.base import load_base
    from mos_model.bases.base_outline import read_outline

    torch.set_num_threads(tuning.threads)
    given = {
        "steps": ask.steps or tuning.steps,
        "rank": ask.rank or None,
        "seed": ask.seed,
    }
    request = TuneRequest(
        tuning.pictures, name=ask.concept or None, settings=given, compare=False
    )
    run = checked(request, read_outline(tuning.base))
    if tuning.max_steps is not None:
        steps = min(run.settings.steps, tuning.max_steps)
        run = replace(run, settings=replace(run.settings, steps=steps))
    for note in run.flight.folder.refused:
        site.journal.write("left-out", file=str(note))
    run.flight.require_ready()
    name = run.terms.concept.name

    def on_class_word(word: str, _: str) -> None:
        site.journal.write(
            "tune-started",
            concept=name,
            class_word=word,
            pictures=len(run.flight.folder.pictures),
            steps=run.settings.steps,
        )

    callbacks = TuneCallbacks(
        on_class_word=on_class_word, on_progress=_progress_writer(site.journal)
    )
    concept = tuned(run, request, load_base(tuning.base), callbacks)
    entry = Outbox(site.home).put(concept.content, site_name(site.home))
    site.journal.write("tuned", concept=name, digest=entry.digest, bytes=entry.bytes)


def _progress_writer(journal: Journal) -> "OnProgress":
    """Write tuning steps to the journal, a few times a second at most."""
    last = time.monotonic()

    def write(now: "TuneProgress") -> None:
        nonlocal last
        if time.monotonic() - last < _SECONDS_BETWEEN_EVENTS and now.step < now.steps:
            return
        last = time.monotonic()
        journal.write("tuning", step=now.step, steps=now.steps, loss=now.loss)

    return write
