"""Plain LoRAs of the same pictures, as the paper compares with.

Each is tuned by the command that a site would use, `mos-client tune --method lora`, in
a process of its own, with the settings of the base but for the method.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import mos_client
from mos_lab.errors import EvaluationError
from mos_lab.evaluation.subjects import PICTURE_ENDINGS, Subject, read_subject


def plain_subjects(
    subjects: Sequence[Subject],
    out: Path,
    *,
    base: str,
    steps: int | None,
    device: str,
    on_tuned: Callable[[], None],
) -> list[Subject]:
    """A plain LoRA for each subject; those that are in `out` already stay.

    Args:
        subjects: Whose pictures, names and class words they take.
        out: One folder each is made here, as `subjects.read_subjects` takes it.
        base: `mini`, a pipeline directory, or a hub name.
        steps: Optimiser steps; the base's own number by default.
        device: As `mos_model.devices.pick_device` takes it.
        on_tuned: Called after each.

    Raises:
        EvaluationError: a tuning failed; it says why.
    """
    made = []
    for subject in subjects:
        folder = out / subject.name
        if not (folder / _file(subject)).is_file():
            _make(subject, folder, base, steps, device)
        made.append(read_subject(folder))
        on_tuned()
    return made


def _make(
    subject: Subject, folder: Path, base: str, steps: int | None, device: str
) -> None:
    partial = folder.parent / f".{folder.name}.part"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for path in subject.folder.iterdir():
        if path.suffix.lower() in PICTURE_ENDINGS or path.suffix in (".txt", ".toml"):
            shutil.copyfile(path, partial / path.name)
    words = ["tune", "--data", str(partial), "--base", base, "--method", "lora"]
    words += ["--concept", subject.name, "--class-word", subject.class_word]
    words += ["--out", str(partial / _file(subject)), "--no-share"]
    words += ["--skip-privacy-check", "--device", device]
    words += [] if steps is None else ["--steps", str(steps)]
    done = subprocess.run(
        [sys.executable, "-m", mos_client.__name__, *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise EvaluationError(f"plain LoRA of {subject.name}: {said[-1]}")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _file(subject: Subject) -> str:
    return f"{subject.name}.safetensors"
