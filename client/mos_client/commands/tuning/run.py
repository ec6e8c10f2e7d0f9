"""`mos-client tune`: a run (`mos_client.tuning.run`) judged, told of, signed, shown."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mos_runtime.console import USER_ERROR, console, print_json, progress

if TYPE_CHECKING:
    import torch

    from mos_client.tuning.checks.checked_run import CheckedRun
    from mos_client.tuning.run import Tuned, TuneRequest
    from mos_client.tuning.runtime.processes import Processes
    from mos_model.bases.base import Base


@dataclass(frozen=True)
class TuneCommand:
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
    def of(command: TuneCommand, name: str) -> "_Files":
        """The files, where they may be written.

        Raises:
            OutputError: one of them may not.
        """
        from mos_protocol.signed.blob import signature_path
        from mos_runtime.outputs import output_file

        path = command.out or Path(f"{name}.safetensors")
        sheet = path.with_suffix(".check.png")
        force = command.force
        if command.check:
            output_file(sheet, force=force, option="the sheet")
        else:
            output_file(path, force=force, suffixes=(".safetensors",))
            output_file(signature_path(path), force=force, option="the signature")
        return _Files(path, sheet, path.parent / f".{name}.tuning")


def run_tune(command: TuneCommand) -> None:
    """Run the command.

    Raises:
        MosError: it cannot start, or failed.
        typer.Exit: with 2, `--check` found what keeps tuning from starting.
    """
    from mos_client.tuning.checks.preflight import ConceptTerms
    from mos_client.tuning.run import TuneRequest, checked
    from mos_client.tuning.runtime.processes import launched
    from mos_model.bases.base_outline import read_outline

    terms = ConceptTerms.of(
        command.data,
        concept=command.concept,
        class_word=command.class_word,
        licence=command.licence,
    )
    files = _Files.of(command, terms.concept.name)
    processes, device = launched(command.device)
    if not processes.leads:
        if command.check:
            return
        console.quiet = True
        command = replace(command, share=False, tensorboard=None)
    request = TuneRequest(
        command.data,
        files.concept,
        files.work_dir,
        name=command.concept,
        class_word=command.class_word,
        licence=command.licence,
        settings=command.given,
        assignments=command.assignments,
        resume=command.resume,
        preview_every=command.preview_every,
        compare=command.privacy_check,
        metrics=command.metrics,
    )
    judged = checked(request, read_outline(command.base), processes)
    run = _Run(command, request, judged, files, processes, device)
    if command.check:
        run.check()
    else:
        run.tune()


@dataclass(frozen=True)
class _Run:
    """One run that was judged."""

    command: TuneCommand
    request: "TuneRequest"
    judged: "CheckedRun"
    files: _Files
    processes: "Processes"
    device: "torch.device"

    def check(self) -> None:
        """Show what tuning would see, and leave with 2 where it would not start."""
        from mos_client.commands.tuning.check import show_check
        from mos_client.tuning.checks.class_word import infer_class_word

        judged, errors = self.judged, self.judged.flight.errors
        if judged.terms.class_word is None and not errors:
            pictures = judged.flight.folder.pictures
            guess = infer_class_word(self._base(), pictures, judged.settings)
            _show_class_word(guess.word, guess.runner_up)
            judged = replace(judged, terms=replace(judged.terms, class_word=guess.word))
        sheet = self.files.sheet if judged.draw(self.files.sheet) else None
        show_check(console, judged, sheet)
        if self.command.json:
            print_json(
                judged.to_dict() | {"sheet": None if sheet is None else str(sheet)}
            )
        if errors:
            raise typer.Exit(USER_ERROR)

    def tune(self) -> None:
        """Tune, sign, show."""
        from mos_client.commands.tuning.progress import tensorboard_log
        from mos_client.commands.tuning.signing import open_outbox, sign_into

        command, folder = self.command, self.judged.flight.folder
        for note in folder.refused:
            console.print(f"left out: {note}", markup=False)
        for note in folder.remarks:
            console.print(f"note: {note}", markup=False)
        self.judged.flight.require_ready()
        board = command.tensorboard
        log = None if board is None else tensorboard_log(board)
        outbox, owner = None, ""
        if command.share:
            outbox, owner = open_outbox(command.home, command.site)
            console.print(self.judged.terms.concept.leaving(), markup=False)
        tuned = self._tuned(log)
        if not self.processes.leads:
            return
        result: dict[str, Any] = {
            "concept": tuned.name,
            "class_word": tuned.class_word,
            "file": str(tuned.path),
            "bytes": len(tuned.content),
            "pictures": len(folder.pictures),
            "left_out": [note.to_dict() for note in folder.refused],
        }
        if (found := tuned.memorisation) is not None:
            console.print(found.sentence(), markup=False)
            result["memorisation"] = asdict(found) | {"repeats": found.repeats}
        if outbox is not None:
            # After the comparison, so that Ctrl-C still keeps it here.
            entry = sign_into(outbox, tuned.content, owner, self.files.concept)
            result |= {"site": owner, "signed": str(entry.path)}
            result |= {"digest": entry.digest, "counter": entry.counter}
        self._show(result)

    def _base(self) -> "Base":
        from mos_model.bases.base import load_base
        from mos_model.devices import pick_dtype

        dtype = pick_dtype(self.command.precision, self.device)
        return load_base(self.command.base, device=self.device, dtype=dtype)

    def _tuned(self, log: Any) -> "Tuned":
        from mos_client.commands.tuning.progress import TuneDisplay
        from mos_client.tuning.run import TuneCallbacks, tuned

        base, judged = self._base(), self.judged
        with progress() as display:
            name, steps = judged.terms.concept.name, judged.settings.steps
            shown = TuneDisplay(display, name, steps, base.device, log)
            callbacks = TuneCallbacks(
                on_phase=shown.phase,
                on_class_word=_show_class_word,
                on_progress=shown.show,
            )
            found = tuned(judged, self.request, base, callbacks, self.processes)
        if log is not None:
            log.close()
        return found

    def _show(self, result: Mapping[str, Any]) -> None:
        if self.command.json:
            print_json(result)
            return
        trigger = f"use it as <{result['concept']}> in prompts"
        console.print(
            f"{result['file']}: {result['bytes']} bytes; {trigger}", markup=False
        )
        if "site" in result:
            signed = f"signed as site {result['site']}; `mos-client join` sends it"
            console.print(signed)


def _show_class_word(word: str, next_best: str) -> None:
    if next_best:
        console.print(f"class word: {word} (next best: {next_best})")
