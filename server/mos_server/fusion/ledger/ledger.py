r"""A durable fusion: concepts join and leave in constant work.

For every layer input a ledger keeps `sum_i G_i + mu G_0`, and for every concept its
terms `A_i G_i` and the captured G_i themselves. A join captures the one new concept
and adds it; a withdrawal takes its G_i away again; a release is one solve. None of them
samples with another concept.

Rules:

- A ledger belongs to one base and one set of settings; with others it is refused.
- A concept is checked, captured and seen to be solvable before anything is written.
- A change is in force when its pointer is (`ledger_files`): whole, or not at all.
- Sums are exact (`packing`): a ledger depends on what it holds, not on its history.

G_i is kept rather than captured anew at a withdrawal. Its triangle has 1.5 MB on the
mini base and 146 MB at the shapes of Stable Diffusion 1.5, a capture some seconds there
and minutes here; a GPU does not repeat its sums to the last bit, so that a difference
would stay behind; and the report of every release asks for it.

Inputs are `solo` and moments balanced: chained inputs depend on all concepts at once,
and each join would capture every one of them again.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor

from mos_model.bases.base import Base
from mos_model.concepts.concept import Concept, FusedConcept, FusedModel, LoraFactors
from mos_server.errors import FusionError, LedgerError
from mos_server.fusion.capture import sampling_steps
from mos_server.fusion.checks import check_concept, check_moments, full_name
from mos_server.fusion.gradient_fusion import capture, solve
from mos_server.fusion.ledger.compacting import compactor
from mos_server.fusion.ledger.files import Entry, LedgerFiles, State
from mos_server.fusion.ledger.packing import (
    balanced,
    counted,
    measured,
    packed,
    unpacked,
)
from mos_server.fusion.ledger.terms import ConceptTerms, stacked_terms
from mos_server.fusion.moments import by_input, in_float64, input_of
from mos_server.fusion.progress import OnProgress, SamplingProgress, part_of, silent
from mos_server.fusion.report.judging import Judge, Standing, alone_residuals
from mos_server.fusion.report.outcome import Fusion
from mos_server.fusion.settings import FusionSettings

Triangles = Mapping[str, Tensor]
"""Input name -> packed triangle: float32 as captured, or int64 units of a sum."""

Gram = Float[Tensor, "d d"]

_CAPTURED_SHARE: Final = 0.95


def can_join(settings: FusionSettings) -> bool:
    """Whether concepts fused with these settings can join one by one."""
    return settings.inputs == "solo" and settings.balance


class Ledger:
    """The concepts of one base and one set of settings, ready to be fused."""

    def __init__(self, folder: Path, base: Base, settings: FusionSettings) -> None:
        """The ledger in `folder`; nothing is read or written yet.

        Args:
            folder: Its own folder; made with the first concept.
            base: The base; as it was after every call.
            settings: Of captures and solve.

        Raises:
            FusionError: the settings are not for a ledger.
        """
        if not can_join(settings):
            raise FusionError(
                f"inputs {settings.inputs}, balance {settings.balance}: a ledger takes "
                "solo inputs and balanced moments; fuse without one"
            )
        self._files = LedgerFiles(folder)
        self._base, self._settings = base, settings

    def entries(self) -> tuple[Entry, ...]:
        """What it holds, ascending by site and concept.

        Raises:
            LedgerError: it is damaged, or of another base or other settings.
        """
        return self._state().entries

    def join(
        self,
        site: str,
        concept: Concept,
        *,
        source: str = "",
        on_progress: OnProgress = silent,
    ) -> None:
        """Take a concept in; one of the same full name makes way for it.

        Args:
            site: The site it came from; "" for a concept from a file.
            concept: The concept.
            source: Digest of what it was read from, kept with it.
            on_progress: Called with what happens, and the share that is done.

        Raises:
            BaseMismatchError: it was made for another base.
            FusionError: it does not fit, is not finite, too large, or singular.
            LedgerError: the ledger is damaged or foreign.
            StorageError: the disk is full, or the like.

        Whatever is raised, the ledger is as it was.
        """
        with self._files.changing():
            state = self._state()
            self._files.commit(self._joined(state, site, concept, source, on_progress))

    def withdraw(self, name: str) -> None:
        """Take a concept out, as if it had never joined.

        Raises:
            FusionError: none of that full name is there.
            LedgerError: the ledger is damaged or foreign.
            StorageError: the disk is full, or the like; the ledger is as it was.
        """
        with self._files.changing():
            state = self._state()
            if name not in {entry.name for entry in state.entries}:
                held = ", ".join(entry.name for entry in state.entries) or "nothing"
                raise FusionError(f"{name}: not in the ledger, which holds {held}")
            self._files.commit(self._without(state, name))

    def rebuild(
        self,
        concepts: Iterable[tuple[str, Concept, str]],
        *,
        on_progress: OnProgress = silent,
    ) -> None:
        """Make it anew from the concepts themselves, whatever is there now.

        The numbers are those that it had: captures are seeded, and sums exact.

        Args:
            concepts: Site, concept and source of each.
            on_progress: Called with what happens, and the share that is done.
        """
        wanted = list(concepts)
        with self._files.changing():
            state = self._empty()
            for place, (site, concept, source) in enumerate(wanted):
                share = (place / len(wanted), (place + 1) / len(wanted))
                part = part_of(on_progress, *share)
                state = self._joined(state, site, concept, source, part)
            self._files.commit(state)

    def clear(self) -> None:
        """Forget everything; what is damaged is mended so, by joining again."""
        with self._files.changing():
            self._files.clear()

    def model(self) -> FusedModel:
        """All that it holds, fused; ascending by site and concept.

        Raises:
            FusionError: it is empty, or a layer is singular.
            LedgerError: it is damaged or foreign.
        """
        state = self._state()
        concepts = self._concepts(state)
        layers = self._layers(state, [self._terms_of(one) for one in state.entries])
        lora = {m: _single(f) for some in layers for m, f in some.items()}
        return self._model(state, concepts, lora)

    def fuse(
        self,
        *,
        compact: bool = False,
        without: Collection[str] = (),
        on_progress: OnProgress = silent,
    ) -> Fusion:
        """The fused model and its report.

        The model is in memory, and besides it what belongs to one layer input; concepts
        are read from their files, layer by layer.

        Args:
            compact: Layer by layer as `compacting` has it, so that the model in memory
                stops growing where its rank is all that a layer can use.
            without: Sources of concepts to leave out; the ledger keeps them.
            on_progress: Called with what happens, and the share that is done.

        Raises:
            FusionError: it is empty, or a layer is singular.
            LedgerError: it is damaged or foreign.
        """
        state = self._state()
        for entry in state.entries:
            if entry.source in without:
                # Never committed: the next change sweeps the sum that this writes.
                state = self._without(state, entry.name)
        concepts = self._concepts(state)
        terms = [self._terms_of(one) for one in state.entries]
        judge = self._judge(state, concepts, terms)
        shapes = self._base.inventory.projections.values()
        rank = sum(entry.rank for entry in state.entries)
        finished = compactor(shapes, rank) if compact else _single
        lora: dict[str, LoraFactors] = {}
        on_progress("solving", 0.0)
        for layers in self._layers(state, terms):
            judge.look(layers)
            lora |= {module: finished(own) for module, own in layers.items()}
            on_progress("solving", len(lora) / len(concepts[0].lora))
        return Fusion(self._model(state, concepts, lora), judge.report(sorted(lora)))

    # Changes: each writes blobs, and gives the state that names them.

    def _joined(
        self,
        state: State,
        site: str,
        concept: Concept,
        source: str,
        on_progress: OnProgress,
    ) -> State:
        name = full_name(site, concept.facts.name)
        check_concept(self._base, name, concept)
        for entry in state.entries:
            if entry.name == name:
                state = self._without(state, name)
        prior, own = self._captured(state, name, concept, on_progress)
        state = state if state.prior or not prior else self._begun(state, prior)
        terms = self._terms(concept, own, prior)
        total = _added(self._total(state), own, sign=1)
        self._check_solvable(name, terms, total)
        put = self._files.put
        entry = Entry(
            site=site,
            concept=concept.facts.name,
            source=source,
            rank=concept.facts.rank,
            content=put(concept.to_bytes()),
            terms=put(save(terms.to_tensors())),
            moments=put(save(dict(own))),
        )
        entries = sorted((*state.entries, entry), key=lambda e: (e.site, e.concept))
        return replace(state, total=put(save(total)), entries=tuple(entries))

    def _without(self, state: State, name: str) -> State:
        gone = next(entry for entry in state.entries if entry.name == name)
        left = tuple(entry for entry in state.entries if entry is not gone)
        own = load(self._files.blob(gone.moments))
        total = _added(self._total(state), own, sign=-1)
        return replace(state, total=self._files.put(save(total)), entries=left)

    def _begun(self, state: State, prior: Triangles) -> State:
        """The state with G_0 in it, before any concept."""
        total = {
            name: counted(self._settings.prior * balanced(triangle))
            for name, triangle in prior.items()
        }
        put = self._files.put
        return replace(state, prior=put(save(dict(prior))), total=put(save(total)))

    def _captured(
        self, state: State, name: str, concept: Concept, on_progress: OnProgress
    ) -> tuple[Triangles, Triangles]:
        """G_0's triangles, and the concept's; the first are captured only once."""
        settings, word = self._settings, concept.facts.name
        prompts = settings.concept_prompts(word)
        prior: Triangles = load(self._files.blob(state.prior)) if state.prior else {}
        generic = [] if prior or settings.prior <= 0 else settings.prior_prompts()
        steps = sampling_steps(prompts, settings) + sampling_steps(generic, settings)
        progress = SamplingProgress(on_progress, steps, share=_CAPTURED_SHARE)
        run = partial(capture, settings=settings, on_step=progress.step)
        if generic:
            progress.start("capturing the prior")
            prior = _triangles(run(self._base, {}, {}, generic))
        progress.start(f"capturing {word}")
        words = {word: concept.embeddings}
        grams = run(self._base, concept.lora, words, prompts)
        check_moments(name, grams)
        return prior, _triangles(grams)

    def _terms(
        self, concept: Concept, own: Triangles, prior: Triangles
    ) -> ConceptTerms:
        lora, gram_of = in_float64(concept.lora), _grams(own)
        return ConceptTerms(
            down_gram={m: f.down @ gram_of(input_of(m)) for m, f in lora.items()},
            up={m: f.up.T for m, f in concept.lora.items()},
            alone=alone_residuals(lora, gram_of, _prior_grams(prior), self._settings),
        )

    def _check_solvable(self, name: str, own: ConceptTerms, total: Triangles) -> None:
        """A ridge makes every sum positive definite; without one it is tried."""
        if self._settings.ridge > 0:
            return
        for read, modules in by_input(own.down_gram).items():
            terms = {f"{name}: {m}": stacked_terms([own], m) for m in modules}
            solve(unpacked(measured(total[read])), terms, self._settings)

    # What is kept, read back.

    def _state(self) -> State:
        state, fresh = self._files.state(), self._empty()
        if state is None:
            return fresh
        if state.base != fresh.base:
            raise LedgerError(
                f"{self._files.folder}: the ledger is of base {state.base[:12]}, "
                f"{self._base.name!r} is {fresh.base[:12]}; rebuild it, or use another"
            )
        if state.settings != fresh.settings:
            odd = sorted(
                key
                for key in {*state.settings, *fresh.settings}
                if state.settings.get(key) != fresh.settings.get(key)
            )
            raise LedgerError(
                f"{self._files.folder}: the ledger was made with another "
                f"{', '.join(odd)}; rebuild it, or use another"
            )
        return state

    def _empty(self) -> State:
        # Through JSON and back, as the pointer has them: tuples are lists there.
        settings: dict[str, Any] = json.loads(json.dumps(asdict(self._settings)))
        return State(self._base.inventory.base, settings)

    def _total(self, state: State) -> dict[str, Tensor]:
        return load(self._files.blob(state.total)) if state.total else {}

    def _concepts(self, state: State) -> list[Concept]:
        if not state.entries:
            raise FusionError("nothing to fuse: give at least one concept")
        return [self._files.concept(entry.content) for entry in state.entries]

    def _terms_of(self, entry: Entry) -> ConceptTerms:
        shapes = self._base.inventory.projections
        tensor = partial(self._files.tensor, entry.terms)
        return ConceptTerms.from_tensors(tensor, shapes, entry.rank)

    def _layers(
        self, state: State, terms: Sequence[ConceptTerms]
    ) -> Iterator[dict[str, LoraFactors]]:
        """The fused layers in float64, all that read one input at a time."""
        total = self._total(state)
        by_name = by_input(sorted(self._base.inventory.projections))
        for name, modules in by_name.items():
            own = {module: stacked_terms(terms, module) for module in modules}
            yield solve(unpacked(measured(total[name])), own, self._settings)

    def _model(
        self,
        state: State,
        concepts: list[Concept],
        lora: Mapping[str, LoraFactors],
    ) -> FusedModel:
        return FusedModel(
            base=state.base,
            lora={module: lora[module] for module in sorted(lora)},
            concepts=tuple(
                FusedConcept(e.concept, e.site, c.facts.class_word, c.embeddings)
                for e, c in zip(state.entries, concepts, strict=True)
            ),
        )

    def _judge(
        self, state: State, concepts: list[Concept], terms: list[ConceptTerms]
    ) -> Judge:
        prior = load(self._files.blob(state.prior)) if state.prior else {}
        return Judge(
            self._base,
            [
                self._standing(*of_one)
                for of_one in zip(state.entries, concepts, terms, strict=True)
            ],
            {entry.name: entry.rank for entry in state.entries},
            _prior_grams(prior),
            self._settings,
        )

    def _standing(
        self, entry: Entry, concept: Concept, terms: ConceptTerms
    ) -> Standing:
        tensor = self._files.tensor
        return Standing(
            name=entry.name,
            lora=concept.lora,
            alone=terms.alone,
            gram_of=lambda name: unpacked(balanced(tensor(entry.moments, name))),
        )


def _triangles(grams: Mapping[str, Gram]) -> dict[str, Tensor]:
    return {name: packed(gram) for name, gram in grams.items()}


def _grams(triangles: Triangles) -> Callable[[str], Gram]:
    """Balanced moments of some triangles, each unpacked when it is asked for."""

    @cache
    def gram_of(name: str) -> Gram:
        return unpacked(balanced(triangles[name]))

    return gram_of


def _prior_grams(triangles: Triangles) -> Callable[[str], Gram | None]:
    gram_of = _grams(triangles)
    return lambda name: gram_of(name) if name in triangles else None


def _added(
    total: Mapping[str, Tensor], own: Triangles, *, sign: int
) -> dict[str, Tensor]:
    """The sum with one concept's balanced moments in it, or out of it."""
    units = {name: sign * counted(balanced(one)) for name, one in own.items()}
    return {name: total[name] + one if total else one for name, one in units.items()}


def _single(factors: LoraFactors) -> LoraFactors:
    return LoraFactors(factors.down.float(), factors.up.float())
