"""The steps of `mos-client tune`: judge, load, tune, check for repeats, sign, show."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mos_runtime.console import USER_ERROR, console, print_json, progress

if TYPE_CHECKING:
    import torch

    from mos_client.tuning import Previews, TuneSettings
    from mos_client.tuning.checks.preflight import ConceptTerms, Preflight
    from mos_client.tuning.runtime.processes import Processes
    from mos_model.bases.base import Base
    from mos_model.bases.base_outline import BaseOutline
    from mos_model.concepts.concept import Concept


@dataclass(frozen=True)
class TuneRequest:
    """The command line of `mos-client tune`; see its help."""

    data: Path
    out: Path | None
    concept: str | None
    class_word: str | None
    licence: str | None
    base: str
    assignments: Sequence[str]
    """Of `--set`."""

    given: Mapping[str, Any]
    """Settings with options of their own; None leaves the base's."""

    device: str
    precision: str
    check: bool
    resume: bool
    preview_every: int | None
    tensorboard: Path | None
    share: bool
    site: str | None
    privacy_check: bool
    metrics: str | None
    force: bool
    home: Path | None
    json: bool


@dataclass(frozen=True)
class _Files:
    """What a run writes."""

    concept: Path
    sheet: Path
    work_dir: Path

    @staticmethod
    def of(request: TuneRequest, name: str) -> "_Files":
        """The files, where they may be written.

        Raises:
            OutputError: one of them may not.
        """
        from mos_protocol.signed.blob import signature_path
        from mos_runtime.outputs import output_file

        path = request.out or Path(f"{name}.safetensors")
        sheet = path.with_suffix(".check.png")
        force = request.force
        if request.check:
            output_file(sheet, force=force, option="the sheet")
        else:
            output_file(path, force=force, suffixes=(".safetensors",))
            output_file(signature_path(path), force=force, option="the signature")
        return _Files(path, sheet, path.parent / f".{name}.tuning")


def run_tune(request: TuneRequest) -> None:
    """Run the command.

    Raises:
        MosError: it cannot start, or failed.
        typer.Exit: with 2, `--check` found what keeps tuning from starting.
    """
    from mos_client.store.outbox import checked_terms
    from mos_client.tuning.checks.preflight import ConceptTerms, preflight
    from mos_client.tuning.runtime.processes import launched
    from mos_client.tuning.settings import TuneSettings
    from mos_model.bases.base_outline import read_outline

    terms = ConceptTerms.of(
        request.data,
        concept=request.concept,
        class_word=request.class_word,
        licence=request.licence,
    )
    checked_terms(licence=terms.licence, class_word=terms.class_word or "")
    files = _Files.of(request, terms.concept.name)
    processes, device = launched(request.device)
    if not processes.leads:
        if request.check:
            return
        console.quiet = True
        request = replace(request, share=False, tensorboard=None, privacy_check=False)
    outline = read_outline(request.base)
    settings = TuneSettings.for_base(outline, request.assignments, **request.given)
    settings = replace(settings, accumulate=settings.accumulate * processes.count)
    flight = preflight(request.data, outline, terms, settings)
    run = _Run(request, flight, terms, settings, files, processes, device)
    if request.check:
        run.check(outline)
    else:
        run.tune()


@dataclass(frozen=True)
class _Run:
    """One run that was judged."""

    request: TuneRequest
    flight: "Preflight"
    terms: "ConceptTerms"
    settings: "TuneSettings"
    files: _Files
    processes: "Processes"
    device: "torch.device"

    def check(self, outline: "BaseOutline") -> None:
        """Show what tuning would see, and leave with 2 where it would not start."""
        from mos_client.commands.tuning.check import show_check
        from mos_client.tuning.checks.checked_run import CheckedRun

        terms = self.terms
        if terms.class_word is None and not self.flight.errors:
            terms = replace(terms, class_word=self._class_word(self._base()))
        checked = CheckedRun(self.flight, terms, self.settings, outline)
        sheet = self.files.sheet if checked.draw(self.files.sheet) else None
        show_check(console, checked, sheet)
        if self.request.json:
            print_json(
                checked.to_dict() | {"sheet": None if sheet is None else str(sheet)}
            )
        if self.flight.errors:
            raise typer.Exit(USER_ERROR)

    def tune(self) -> None:
        """Tune, check for repeats, sign, show."""
        from mos_client.commands.tuning.progress import tensorboard_log
        from mos_client.commands.tuning.signing import open_outbox, sign_into
        from mos_client.tuning.checks.memorisation import memorisation, metrics_for

        request, flight, path = self.request, self.flight, self.files.concept
        for note in flight.folder.refused:
            console.print(f"left out: {note}", markup=False)
        for note in flight.folder.remarks:
            console.print(f"note: {note}", markup=False)
        flight.require_ready()
        folder = request.tensorboard
        log = None if folder is None else tensorboard_log(folder)
        outbox, owner = None, ""
        if request.share:
            outbox, owner = open_outbox(request.home, request.site)
            console.print(self.terms.concept.leaving(), markup=False)
        previews = self._previews()
        base = self._base()
        privacy_check = request.privacy_check
        judge = metrics_for(base, request.metrics) if privacy_check else None
        word = self.terms.class_word or self._class_word(base)
        tuned = self._tuned(base, word, log, previews)
        if not self.processes.leads:
            return
        content = self._written(tuned)
        found = None
        if privacy_check:
            # Before it is signed, so that Ctrl-C still keeps it here.
            pictures = flight.folder.pictures
            found = memorisation(tuned, pictures, base=base, metrics=judge)
            console.print(found.sentence(), markup=False)
        entry = None if outbox is None else sign_into(outbox, content, owner, path)
        result: dict[str, Any] = {
            "concept": self.terms.concept.name,
            "class_word": word,
            "file": str(path),
            "bytes": len(content),
            "pictures": len(flight.folder.pictures),
            "left_out": [note.to_dict() for note in flight.folder.refused],
        }
        if found is not None:
            result["memorisation"] = asdict(found) | {"repeats": found.repeats}
        if entry is not None:
            result |= {"site": owner, "signed": str(entry.path)}
            result |= {"digest": entry.digest, "counter": entry.counter}
        self._show(result)

    def _base(self) -> "Base":
        from mos_model.bases.base import load_base
        from mos_model.devices import pick_dtype

        dtype = pick_dtype(self.request.precision, self.device)
        return load_base(self.request.base, device=self.device, dtype=dtype)

    def _class_word(self, base: "Base") -> str:
        from mos_client.tuning.checks.class_word import infer_class_word

        guess = infer_class_word(base, self.flight.folder.pictures, self.settings)
        console.print(f"class word: {guess.word} (next best: {guess.runner_up})")
        return guess.word

    def _previews(self) -> "Previews | None":
        from mos_client.tuning import Previews
        from mos_client.tuning.runtime.preview import preview_writer

        every = self.request.preview_every
        if every is None:
            return None
        return Previews(every, preview_writer(self.files.work_dir / "previews"))

    def _tuned(
        self, base: "Base", class_word: str, log: Any, previews: "Previews | None"
    ) -> "Concept":
        from mos_client.commands.tuning.progress import TuneDisplay
        from mos_client.tuning import RunOptions, tune_concept

        name = self.terms.concept.name
        with progress() as display:
            shown = TuneDisplay(display, name, self.settings.steps, base.device, log)
            tuned = tune_concept(
                self.flight.folder.pictures,
                base=base,
                name=name,
                class_word=class_word,
                settings=self.settings,
                licence=self.terms.licence,
                run=RunOptions(
                    work_dir=self.files.work_dir,
                    resume=self.request.resume,
                    on_progress=shown.show,
                    previews=previews,
                    processes=self.processes,
                ),
            )
        if log is not None:
            log.close()
        return tuned

    def _written(self, tuned: "Concept") -> bytes:
        """Write the concept's file; the checkpoint goes, previews stay."""
        from mos_client.tuning.runtime.checkpoint import FILE
        from mos_protocol.signed.blob import signature_path
        from mos_runtime.files import write_atomically

        content = tuned.to_bytes()
        # An older signature would not be this concept's.
        signature_path(self.files.concept).unlink(missing_ok=True)
        write_atomically(self.files.concept, content)
        (self.files.work_dir / FILE).unlink(missing_ok=True)
        with suppress(OSError):  # previews are still in it
            self.files.work_dir.rmdir()
        return content

    def _show(self, result: Mapping[str, Any]) -> None:
        if self.request.json:
            print_json(result)
            return
        trigger = f"use it as <{result['concept']}> in prompts"
        console.print(
            f"{result['file']}: {result['bytes']} bytes; {trigger}", markup=False
        )
        if "site" in result:
            signed = f"signed as site {result['site']}; `mos-client join` sends it"
            console.print(signed)
