"""`mos-client tune`: pictures in, a concept out."""

from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mos_client.commands.options import HomeOption, JsonOption
from mos_runtime.console import ForceOption, console, print_json, progress

_DATA: Final = "Pictures and concept"
_METHOD: Final = "Method"
_MACHINE: Final = "Machine"
_RUN: Final = "The run"
_SIGNING: Final = "Signing and privacy"


def tune(
    data: Annotated[
        Path,
        typer.Option(help="Folder of pictures of one subject.", rich_help_panel=_DATA),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The concept's file; NAME.safetensors here.", rich_help_panel=_DATA
        ),
    ] = None,
    concept: Annotated[
        str | None,
        typer.Option(
            help="Its name; concept.toml's, or the folder's.", rich_help_panel=_DATA
        ),
    ] = None,
    class_word: Annotated[
        str | None,
        typer.Option(
            help="Ordinary word for the subject, as `cat`; the base finds one.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="Terms of use, recorded in it.", rich_help_panel=_DATA),
    ] = None,
    min_side: Annotated[
        int | None,
        typer.Option(
            help="Pixels the short side of a picture needs.", rich_help_panel=_DATA
        ),
    ] = None,
    base: Annotated[
        str,
        typer.Option(
            help="`mini`, a pipeline directory, or a hub name.",
            rich_help_panel=_METHOD,
        ),
    ] = "mini",
    steps: Annotated[
        int | None, typer.Option(help="Optimiser steps.", rich_help_panel=_METHOD)
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(help="Rank of the LoRA pairs.", rich_help_panel=_METHOD),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Decides everything random.", rich_help_panel=_METHOD),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="`ed-lora`, or `lora` for comparison.", rich_help_panel=_METHOD
        ),
    ] = None,
    settings_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Another setting, as `snr_gamma=5`; repeatable.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            help="`auto`, `cpu`, `cuda`, `cuda:1` or `mps`.", rich_help_panel=_MACHINE
        ),
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="Of the base: `auto`, `float32` or `bfloat16`.",
            rich_help_panel=_MACHINE,
        ),
    ] = "auto",
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Tune nothing; show what the model will see in NAME.check.png.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with a stopped run.", rich_help_panel=_RUN
        ),
    ] = False,
    preview_every: Annotated[
        int | None,
        typer.Option(
            help="Steps between grids in .NAME.tuning/previews.", rich_help_panel=_RUN
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(help="Folder of a TensorBoard log.", rich_help_panel=_RUN),
    ] = None,
    share: Annotated[
        bool,
        typer.Option(
            help="Sign it for the centre into the outbox.", rich_help_panel=_SIGNING
        ),
    ] = True,
    site: Annotated[
        str | None,
        typer.Option(
            help="This site's name, until it has enrolled.", rich_help_panel=_SIGNING
        ),
    ] = None,
    skip_privacy_check: Annotated[
        bool,
        typer.Option(
            "--skip-privacy-check",
            help="Do not look for repeated pictures.",
            rich_help_panel=_SIGNING,
        ),
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="CLIPModel directory that judges pictures for that check.",
            rich_help_panel=_SIGNING,
        ),
    ] = None,
    force: ForceOption = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Tune an ED-LoRA concept on your pictures; they stay here.

    The concept is one file, and a signed copy of it waits in the outbox for the centre.
    A `concept.toml` in the folder may give name, class_word, licence and captions.
    Ctrl-C keeps a checkpoint; --resume goes on to the same result.
    """
    from mos_client.commands.tuning.check import check_run
    from mos_client.commands.tuning.progress import (
        TuneDisplay,
        preview_writer,
        tensorboard_log,
    )
    from mos_client.commands.tuning.signing import open_outbox, sign_into
    from mos_client.pictures import read_concept_file, read_folder
    from mos_client.store.outbox import checked_terms
    from mos_client.tuning import Previews, TuneSettings, tune_concept
    from mos_client.tuning.class_word import check_class_word, infer_class_word
    from mos_client.tuning.latents import working_side
    from mos_client.tuning.memorisation import memorisation, metrics_for
    from mos_client.tuning.runtime.processes import launched
    from mos_model.base import load_base
    from mos_model.devices import pick_dtype
    from mos_model.names import checked_name
    from mos_protocol.signed.blob import signature_path
    from mos_runtime.files import write_atomically
    from mos_runtime.outputs import output_file

    told = read_concept_file(data)
    name = checked_name(concept or told.name or data.resolve().name.lower(), "concept")
    word = told.class_word if class_word is None else class_word
    licence = (told.licence or "") if licence is None else licence
    checked_terms(licence=licence, class_word=word or "")
    path = Path(f"{name}.safetensors") if out is None else out
    sheet = path.with_suffix(".check.png")
    if check:
        output_file(sheet, force=force, option="the sheet")
    else:
        output_file(path, force=force, suffixes=(".safetensors",))
        output_file(signature_path(path), force=force, option="the signature")
    work_dir = path.parent / f".{name}.tuning"
    previews = None
    if preview_every is not None:
        previews = Previews(preview_every, preview_writer(work_dir / "previews"))
    processes, where = launched(device)
    if not processes.leads:
        console.quiet, share, tensorboard = True, False, None
        skip_privacy_check = True
        if check:
            return
    log = None if tensorboard is None else tensorboard_log(tensorboard)
    loaded = load_base(base, device=where, dtype=pick_dtype(precision, where))
    settings = TuneSettings.for_base(
        loaded,
        settings_ or (),
        method=method,
        steps=steps,
        rank=rank,
        seed=seed,
        min_side=min_side,
    )
    settings = replace(settings, accumulate=settings.accumulate * processes.count)
    folder = read_folder(data, min_side=settings.min_side or working_side(loaded))
    for line in folder.refused:
        console.print(f"left out: {line}", markup=False)
    for line in folder.remarks:
        console.print(f"note: {line}", markup=False)
    if word is not None:
        check_class_word(loaded, word)
    judge = None if skip_privacy_check or check else metrics_for(loaded, metrics)
    outbox, owner = open_outbox(home, site) if share and not check else (None, "")
    if word is None:
        guess = infer_class_word(loaded, folder.pictures, settings)
        word = guess.word
        console.print(f"class word: {guess.word} (next best: {guess.runner_up})")
    if check:
        shown = check_run(
            folder,
            loaded,
            name=name,
            class_word=word,
            settings=settings,
            path=sheet,
        )
        if json:
            print_json(shown)
        return
    with progress() as display:
        shown_as = TuneDisplay(display, name, settings.steps, loaded.device, log)
        tuned = tune_concept(
            folder.pictures,
            base=loaded,
            name=name,
            class_word=word,
            settings=settings,
            licence=licence,
            work_dir=work_dir,
            resume=resume,
            on_progress=shown_as.show,
            previews=previews,
            processes=processes,
        )
    if not processes.leads:
        return
    if log is not None:
        log.close()
    content = tuned.to_bytes()
    # An older signature would not be this concept's.
    signature_path(path).unlink(missing_ok=True)
    write_atomically(path, content)
    _forget(work_dir)
    if not skip_privacy_check:
        # Before it is signed, so that Ctrl-C still keeps it here.
        found = memorisation(tuned, folder.pictures, base=loaded, metrics=judge)
        console.print(found.sentence(), markup=False)
    entry = None if outbox is None else sign_into(outbox, content, owner, path)
    if json:
        result: dict[str, Any] = {
            "concept": name,
            "class_word": word,
            "file": str(path),
            "bytes": len(content),
            "pictures": len(folder.pictures),
            "left_out": list(folder.refused),
        }
        if not skip_privacy_check:
            result["memorisation"] = asdict(found) | {"repeats": found.repeats}
        if entry is not None:
            result |= {"site": owner, "signed": str(entry.path)}
            result |= {"digest": entry.digest, "counter": entry.counter}
        print_json(result)
        return
    console.print(
        f"{path}: {len(content)} bytes; use it as <{name}> in prompts", markup=False
    )
    if entry is not None:
        console.print(f"signed as site {owner}; `mos-client join` sends it")


def _forget(work_dir: Path) -> None:
    """Remove the checkpoint of a run that is done; its previews stay."""
    from mos_client.tuning.runtime.checkpoint import FILE

    (work_dir / FILE).unlink(missing_ok=True)
    with suppress(OSError):  # previews are still in it
        work_dir.rmdir()
