"""Tuning that the centre asked for: what `mos-client tune` does, without a terminal."""

import os
import time
from dataclasses import replace
from typing import Final

from mos_client.errors import PolicyError
from mos_client.federation.node import Site, SiteTuning
from mos_client.federation.policy import Policy
from mos_client.store.enrolment import site_name
from mos_client.store.outbox import Outbox, checked_terms
from mos_model.bases.base_files import read_inventory
from mos_protocol.messages import TuneAsk
from mos_protocol.signed.enrolment import Welcome

_TELL_EVERY_SECONDS: Final = 0.5


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
    base itself names the class. Steps are told in the journal.

    Args:
        site: Whose outbox.
        tuning: Pictures, base and settings; `ask` has the last word where it has one.
        ask: The centre's wish.

    Raises:
        MosError: the pictures or the base cannot be used, or the tuning failed.
    """
    site.journal.write("preparing", what="loading the base")
    import torch

    from mos_client.tuning import TuneProgress, TuneSettings, tune_concept
    from mos_client.tuning.checks.class_word import infer_class_word
    from mos_client.tuning.checks.preflight import ConceptTerms, preflight
    from mos_model.bases.base import load_base
    from mos_model.bases.base_outline import read_outline

    torch.set_num_threads(tuning.threads)
    terms = ConceptTerms.of(tuning.pictures, concept=ask.concept or None)
    checked_terms(licence=terms.licence, class_word=terms.class_word or "")
    name = terms.concept.name
    outline = read_outline(tuning.base)
    settings = TuneSettings.for_base(
        outline,
        steps=ask.steps or tuning.steps,
        rank=ask.rank or None,
        seed=ask.seed,
    )
    if tuning.max_steps is not None:
        settings = replace(settings, steps=min(settings.steps, tuning.max_steps))
    flight = preflight(tuning.pictures, outline, terms, settings)
    folder = flight.folder
    for note in folder.refused:
        site.journal.write("left-out", file=str(note))
    flight.require_ready()
    base = load_base(tuning.base)
    word = terms.class_word or infer_class_word(base, folder.pictures, settings).word
    site.journal.write(
        "tune-started",
        concept=name,
        class_word=word,
        pictures=len(folder.pictures),
        steps=settings.steps,
    )
    last = time.monotonic()

    def tell(now: TuneProgress) -> None:
        nonlocal last
        if time.monotonic() - last < _TELL_EVERY_SECONDS and now.step < now.steps:
            return
        last = time.monotonic()
        site.journal.write("tuning", step=now.step, steps=now.steps, loss=now.loss)

    concept = tune_concept(
        folder.pictures,
        base=base,
        name=name,
        class_word=word,
        settings=settings,
        licence=terms.licence,
        on_progress=tell,
    )
    entry = Outbox(site.home).put(concept.to_bytes(), site_name(site.home))
    site.journal.write("tuned", concept=name, digest=entry.digest, bytes=entry.bytes)
