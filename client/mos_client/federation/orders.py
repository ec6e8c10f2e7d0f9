"""Tuning that the centre asked for: what `mos-client tune` does, without a terminal."""

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mos_client.errors import PolicyError
from mos_client.federation import events
from mos_client.federation.node import Site, SiteTuning
from mos_client.federation.policy import Policy
from mos_client.store.enrolment import site_name
from mos_client.store.outbox import Outbox, checked_terms
from mos_model.bases.base_files import read_inventory
from mos_protocol.messages import TuneAsk
from mos_protocol.signed.enrolment import Welcome
from mos_runtime.journal import Journal

if TYPE_CHECKING:
    from mos_client.tuning import OnProgress, TuneProgress, TuneSettings
    from mos_model.bases.base_outline import BaseOutline

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
    site.journal.write(events.Preparing(what="loading the base"))
    import torch

    from mos_client.tuning import RunOptions, tune_concept
    from mos_client.tuning.checks.class_word import infer_class_word
    from mos_client.tuning.checks.preflight import ConceptTerms, preflight
    from mos_model.bases.base import load_base
    from mos_model.bases.base_outline import read_outline

    torch.set_num_threads(tuning.threads)
    terms = ConceptTerms.of(tuning.pictures, concept=ask.concept or None)
    name = terms.concept.name
    checked_terms(licence=terms.licence, class_word=terms.class_word or "")
    outline = read_outline(tuning.base)
    settings = _settings(tuning, ask, outline)
    flight = preflight(tuning.pictures, outline, terms, settings)
    for note in flight.folder.refused:
        site.journal.write(events.LeftOut(file=str(note)))
    flight.require_ready()
    pictures = flight.folder.pictures
    base = load_base(tuning.base)
    word = terms.class_word or infer_class_word(base, pictures, settings).word
    site.journal.write(
        events.TuneStarted(
            concept=name,
            class_word=word,
            pictures=len(pictures),
            steps=settings.steps,
        )
    )
    concept = tune_concept(
        pictures,
        base=base,
        name=name,
        class_word=word,
        settings=settings,
        licence=terms.licence,
        run=RunOptions(on_progress=_progress_writer(site.journal)),
    )
    entry = Outbox(site.home).put(concept.to_bytes(), site_name(site.home))
    site.journal.write(
        events.Tuned(concept=name, digest=entry.digest, bytes=entry.bytes)
    )


def _settings(
    tuning: SiteTuning, ask: TuneAsk, outline: "BaseOutline"
) -> "TuneSettings":
    from mos_client.tuning import TuneSettings

    settings = TuneSettings.for_base(
        outline,
        steps=ask.steps or tuning.steps,
        rank=ask.rank or None,
        seed=ask.seed,
    )
    if tuning.max_steps is None:
        return settings
    return replace(settings, steps=min(settings.steps, tuning.max_steps))


def _progress_writer(journal: Journal) -> "OnProgress":
    """Write tuning steps to the journal, a few times a second at most."""
    last = time.monotonic()

    def write(now: "TuneProgress") -> None:
        nonlocal last
        if time.monotonic() - last < _SECONDS_BETWEEN_EVENTS and now.step < now.steps:
            return
        last = time.monotonic()
        journal.write(events.Tuning(step=now.step, steps=now.steps, loss=now.loss))

    return write
