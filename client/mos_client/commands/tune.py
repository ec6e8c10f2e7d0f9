"""`mos-client tune`: pictures in, a concept out."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mos_client.commands.options import HomeOption, JsonOption
from mos_client.errors import SiteError
from mos_shared.console import console, print_json, progress
from mos_shared.errors import MosError

if TYPE_CHECKING:
    from mos_client.outbox import Outbox, OutboxEntry


def tune(
    data: Annotated[Path, typer.Option(help="Folder of pictures of one subject.")],
    out: Annotated[
        Path | None, typer.Option(help="The concept's file; NAME.safetensors here.")
    ] = None,
    concept: Annotated[
        str | None, typer.Option(help="Its name; the folder's by default.")
    ] = None,
    class_word: Annotated[
        str | None, typer.Option(help="Ordinary word for the subject, as `cat`.")
    ] = None,
    base: Annotated[
        str, typer.Option(help="`mini`, a pipeline directory, or a hub name.")
    ] = "mini",
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of the LoRA pairs.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides everything random.")] = None,
    min_side: Annotated[
        int | None, typer.Option(help="Pixels the short side of a picture needs.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="`ed-lora`, or `lora` for comparison.")
    ] = None,
    settings_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another setting, as `snr_gamma=5`; repeatable."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="`auto`, `cpu`, `cuda`, `cuda:1` or `mps`.")
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(help="Of the base: `auto`, `float32` or `bfloat16`."),
    ] = "auto",
    licence: Annotated[str, typer.Option(help="Terms of use, recorded in it.")] = "",
    resume: Annotated[bool, typer.Option(help="Go on with a stopped run.")] = False,
    share: Annotated[
        bool, typer.Option(help="Sign it for the centre into the outbox.")
    ] = True,
    site: Annotated[
        str | None, typer.Option(help="This site's name, until it has enrolled.")
    ] = None,
    skip_privacy_check: Annotated[
        bool,
        typer.Option("--skip-privacy-check", help="Do not look for repeated pictures."),
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option(help="CLIPModel directory that judges pictures for that check."),
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Tune an ED-LoRA concept on your pictures; they stay here.

    The concept is one file, and a signed copy of it waits in the outbox for the centre.
    Ctrl-C keeps a checkpoint; --resume goes on to the same result.
    """
    from mos_client.outbox import checked_terms
    from mos_client.pictures import read_folder
    from mos_client.privacy import memorisation, metrics_for
    from mos_client.tuning import TuneProgress, TuneSettings, tune_concept
    from mos_client.tuning.class_word import infer_class_word
    from mos_client.tuning.latents import working_side
    from mos_protocol.blob import signature_path
    from mos_shared.base import load_base
    from mos_shared.devices import pick_device, pick_dtype
    from mos_shared.files import write_atomically
    from mos_shared.names import checked_name

    name = checked_name(concept or data.resolve().name.lower(), "concept")
    checked_terms(licence=licence, class_word=class_word or "")
    where = pick_device(device)
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
    folder = read_folder(data, min_side=settings.min_side or working_side(loaded))
    for line in folder.refused:
        console.print(f"left out: {line}", markup=False)
    judge = None if skip_privacy_check else metrics_for(loaded, metrics)
    outbox, owner = _outbox(home, site) if share else (None, "")
    word = class_word
    if word is None:
        guess = infer_class_word(loaded, folder.pictures, settings)
        word = guess.word
        console.print(f"class word: {guess.word} (next best: {guess.runner_up})")
    path = out or Path(f"{name}.safetensors")
    work_dir = path.parent / f".{name}.tuning"
    with progress() as display:
        task = display.add_task(f"tuning <{name}>", total=settings.steps, note="")

        def show(now: TuneProgress) -> None:
            note = f"loss {now.loss:.4f}"
            display.update(task, completed=now.step, note=note)

        tuned = tune_concept(
            folder.pictures,
            base=loaded,
            name=name,
            class_word=word,
            settings=settings,
            licence=licence,
            work_dir=work_dir,
            resume=resume,
            on_progress=show,
        )
    content = tuned.to_bytes()
    # An older signature would not be this concept's.
    signature_path(path).unlink(missing_ok=True)
    write_atomically(path, content)
    _forget(work_dir)
    if not skip_privacy_check:
        # Before it is signed, so that Ctrl-C still keeps it here.
        found = memorisation(tuned, folder.pictures, base=loaded, metrics=judge)
        console.print(found.sentence(), markup=False)
    entry = None if outbox is None else _signed(outbox, content, owner, path)
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


def _outbox(home: Path | None, wanted: str | None) -> "tuple[Outbox, str]":
    """Where the concept is signed, and as whose, known before the hours of work."""
    from mos_client.enrolment import site_name
    from mos_client.home import SiteHome
    from mos_client.outbox import Outbox

    site = SiteHome.open(home, create=True)
    return Outbox(site), site_name(site, wanted)


def _signed(outbox: "Outbox", content: bytes, owner: str, path: Path) -> "OutboxEntry":
    """Sign into the outbox, and beside the concept's own file."""
    from mos_protocol.blob import signature_path
    from mos_shared.files import write_atomically

    try:
        entry = outbox.put(content, owner)
        envelope = outbox.bundle(entry.digest).envelope
        write_atomically(signature_path(path), envelope)
        return entry
    except MosError as error:
        raise SiteError(
            f"{error}. The concept itself is whole: {path}; once this is mended, "
            f"`mos-client share {path}` signs it"
        ) from error


def _forget(work_dir: Path) -> None:
    """Remove the checkpoint of a run that is done."""
    import shutil

    shutil.rmtree(work_dir, ignore_errors=True)
