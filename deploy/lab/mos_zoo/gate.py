"""Whether the mini zoo is good enough: `python -m mos_zoo.gate --out DIR`.

Prints one JSON object: every gate's figure, its target and whether it holds, and below
`details` the figures that they were taken from. Writes grids of the pictures that were
judged into DIR, for the eye: a classifier is kinder.

* Everything is measured on seeds that nothing was trained on.
* A gate whose model is missing does not hold; its `why` says what is missing.
* How long a concept takes to tune is not measured here: tuning belongs to the client,
  which this package must not import.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mos_model.errors import BaseError, ZooError
from mos_runtime.errors import MosError

MEGABYTE: Final = 10**6


@dataclass(frozen=True)
class Target:
    """What a figure must reach."""

    bound: float
    at_most: bool = False
    """Otherwise at least."""

    def holds(self, figure: float | None) -> bool:
        """Whether a figure reaches it; a missing one does not."""
        if figure is None:
            return False
        return figure <= self.bound if self.at_most else figure >= self.bound

    def __str__(self) -> str:
        """As in "<= 30"."""
        return f"{'<=' if self.at_most else '>='} {self.bound:g}"


_CLIP_GATE: Final = "clip: caption among 32"

TARGETS: Final[Mapping[str, Target]] = {
    "classifier on renders": Target(0.98),
    "classifier on reconstructions": Target(0.95),
    "reconstruction psnr": Target(27.0),
    "demo colour shift": Target(24.0, at_most=True),
    "single: class": Target(0.90),
    "single: colour": Target(0.85),
    "single: background": Target(0.95),
    "two subjects: both classes present": Target(0.70),
    "pattern where named": Target(0.60),
    _CLIP_GATE: Target(0.80),
    "adapter: edge F1 at weight 1 to weight 0": Target(2.0),
    "base megabytes": Target(30.0, at_most=True),
    "zoo megabytes": Target(40.0, at_most=True),
    "seconds a picture": Target(1.5, at_most=True),
}
"""The classifier's two gates are its worst head's. A colour shift of 24 bytes of RGB,
a tenth of the range, is this program's reading of "colours kept"."""


@dataclass(frozen=True)
class Counts:
    """How many pictures are judged."""

    renders: int = 1000
    reconstructions: int = 400
    singles: int = 128
    patterns: int = 64
    pairs: int = 64
    followed: int = 48
    demo_pictures: int = 8
    retrieval_groups: int = 12


QUICK: Final = Counts(200, 64, 16, 16, 16, 16, 2, 2)
"""For a look in between; the figures are coarse."""


@dataclass
class Report:
    """Figures as they come in."""

    figures: dict[str, float] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def gates(self) -> dict[str, dict[str, Any]]:
        """Every gate with figure, target and whether it holds."""
        gates: dict[str, dict[str, Any]] = {}
        for name, target in TARGETS.items():
            figure = self.figures.get(name)
            gates[name] = {
                "figure": None if figure is None else round(figure, 4),
                "target": str(target),
                "holds": target.holds(figure),
            }
            if name in self.why:
                gates[name]["why"] = self.why[name]
        return gates


@dataclass(frozen=True)
class Models:
    """Where the models to judge lie: directories, or None for the zoo's own."""

    base: str
    clip: Path | None
    adapter: Path | None
    controlnet: Path | None
    state: Path
    """Where the classifier was trained."""


def measure(models: Models, counts: Counts, out: Path) -> dict[str, Any]:
    """All figures of the gate.

    Args:
        models: What to judge.
        counts: How many pictures to judge it by.
        out: A folder for grids of pictures.

    Raises:
        ZooError: the classifier is not trained, or a model cannot be loaded.
        BaseError: the base cannot be loaded, or is of another family.
        StorageError: a grid cannot be written.
    """
    from mos_model.bases.base import load_base
    from mos_zoo.models.classifier import load_classifier

    classifier = load_classifier(models.state)
    base = load_base(models.base)
    if base.is_xl:
        raise BaseError(f"{base.folder}: the gate judges Stable Diffusion bases alone")
    report = Report()
    _say(f"judging {base.folder}")
    clip = _load_clip(report, models.clip)
    controls = {
        "adapter": _load_control(report, "adapter", models.adapter),
        "controlnet": _load_control(report, "controlnet", models.controlnet),
    }
    _judge_classifier(report, base, classifier, counts)
    _judge_samples(report, base, classifier, counts, out)
    if clip is not None:
        _judge_clip(report, clip, counts)
    for name, control in controls.items():
        if control is not None:
            _judge_control(report, base, classifier, name, control, counts, out)
    _weigh(report, base.folder)
    gates = report.gates()
    return {
        "base": models.base,
        "judged": vars(counts),
        "gates": gates,
        "all_hold": all(gate["holds"] for gate in gates.values()),
        "not_measured": {"minutes to tune a concept": "time `mos-client tune`"},
        "details": report.details,
    }


def _judge_classifier(
    report: Report, base: Any, classifier: Any, counts: Counts
) -> None:
    """Renders, and what the autoencoder makes of them."""
    from dataclasses import replace

    from mos_zoo.judging import demo_colour_shifts, reconstructed
    from mos_zoo.models.classifier import (
        held_out_renders,
        judge,
        pairs_told,
        shares_right,
    )

    _say("renders and reconstructions")
    singles, pairs = held_out_renders(counts.renders)
    right = shares_right(singles, judge(classifier, singles.pixels))
    few = replace(
        singles,
        **{n: part[: counts.reconstructions] for n, part in vars(singles).items()},
    )
    pixels, decibels = reconstructed(base, few.pixels)
    still_right = shares_right(few, judge(classifier, pixels))
    after, _ = reconstructed(base, pairs.pixels)
    shifts = demo_colour_shifts(base, counts.demo_pictures)
    report.figures |= {
        "classifier on renders": min(right.values()),
        "classifier on reconstructions": min(still_right.values()),
        "reconstruction psnr": decibels,
        "demo colour shift": max(shifts.values()),
    }
    report.details |= {
        "classifier on renders": right,
        "classifier on reconstructions": still_right,
        "demo colour shift": shifts,
        "detector on renders of two": pairs_told(classifier, pairs),
        "detector on reconstructions of two": pairs_told(
            classifier, replace(pairs, pixels=after)
        ),
    }


def _judge_samples(
    report: Report, base: Any, classifier: Any, counts: Counts, out: Path
) -> None:
    """Prompts with one subject, with a pattern, with two subjects."""
    import torch

    from mos_zoo.judging import (
        BATCH,
        pair_prompts,
        pattern_prompts,
        sample_prompts,
        shares_kept,
        single_prompts,
    )
    from mos_zoo.world.pictures import save_grid

    # The first call warms up; it is not timed.
    sample_prompts(base, single_prompts(1))
    kinds = {
        "single": single_prompts(counts.singles),
        "pattern": pattern_prompts(counts.patterns),
        "pair": pair_prompts(counts.pairs),
    }
    for name, prompts in kinds.items():
        _say(f"sampling {len(prompts)} of {name!r}")
        started = time.process_time()
        samples = sample_prompts(base, prompts)
        shares = shares_kept(classifier, samples)
        report.details[f"samples: {name}"] = shares
        texts = [prompt.text for prompt in prompts]
        pixels = list(samples.pixels)
        save_grid(out / f"{name}.png", pixels, columns=8, labels=texts, zoom=2)
        if name == "single":
            for head in ("class", "colour", "background"):
                report.figures[f"single: {head}"] = shares[head]
            each = samples.seconds / len(prompts)
            report.figures["seconds a picture"] = each
            report.details["sampling"] = {
                "batch": BATCH,
                "threads": torch.get_num_threads(),
                "processor seconds a picture": round(
                    (time.process_time() - started) / len(prompts), 3
                ),
            }
        elif name == "pattern":
            report.figures["pattern where named"] = shares["pattern"]
        else:
            both = shares["all classes present"]
            report.figures["two subjects: both classes present"] = both


def _judge_clip(report: Report, model: Any, counts: Counts) -> None:
    """Captions and individuals found again."""
    import torch

    from mos_zoo.models.clip import retrieval
    from mos_zoo.training.tokenizer import load_tokenizer

    _say("captions and pictures")
    shares = retrieval(
        model, load_tokenizer(), torch.device("cpu"), counts.retrieval_groups
    )
    report.figures[_CLIP_GATE] = shares["caption among 32"]
    report.details["clip"] = shares


def _judge_control(
    report: Report,
    base: Any,
    classifier: Any,
    name: str,
    control: Any,
    counts: Counts,
    out: Path,
) -> None:
    """Whether subjects are where the control has them."""
    from mos_zoo.judging import edges_followed
    from mos_zoo.world.pictures import save_grid

    _say(f"following the {name}")
    figures, rows = edges_followed(base, classifier, control, counts.followed)
    ratio = figures["at weight 1"] / max(1e-6, figures["at weight 0"])
    report.figures[_control_gate(name)] = ratio
    report.details[f"{name}: edge F1"] = figures
    columns = min(16, counts.followed)
    pictures = [picture for row in rows for picture in row[:columns]]
    save_grid(out / f"{name}.png", pictures, columns=columns, zoom=2)


def _load_clip(report: Report, folder: Path | None) -> Any:
    from transformers import CLIPModel

    def load(path: Path) -> Any:
        return CLIPModel.from_pretrained(path).float().eval()

    return _loaded(report, _CLIP_GATE, "mini-clip", folder, load)


def _load_control(report: Report, name: str, folder: Path | None) -> Any:
    from mos_zoo.judging import load_adapter, load_controlnet

    load = load_adapter if name == "adapter" else load_controlnet
    return _loaded(report, _control_gate(name), f"mini-{name}", folder, load)


def _control_gate(name: str) -> str:
    return f"{name}: edge F1 at weight 1 to weight 0"


def _loaded(
    report: Report,
    gate: str,
    name: str,
    folder: Path | None,
    load: Callable[[Path], Any],
) -> Any:
    """The model, or None with the reason in the report where the zoo lacks it."""
    from mos_model.mini import zoo_path

    try:
        path = folder or zoo_path(name)
    except ZooError as error:
        report.why[gate] = str(error)
        return None
    try:
        return load(path)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ZooError(f"{path}: no usable {name!r} there: {reason}") from error


def _weigh(report: Report, folder: Path) -> None:
    """Sizes on disk; the zoo is the base and whatever else of it is installed."""
    from mos_model.mini import ZOO_NAMES, weights_folder

    sizes = {"base": _megabytes(folder)}
    for name in ZOO_NAMES[1:]:
        if (weights_folder() / name).is_dir():
            sizes[name] = _megabytes(weights_folder() / name)
    report.figures["base megabytes"] = sizes["base"]
    report.figures["zoo megabytes"] = sum(sizes.values())
    report.details["megabytes"] = {n: round(size, 2) for n, size in sizes.items()}


def _megabytes(folder: Path) -> float:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files) / MEGABYTE


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mos_zoo.gate", description="Judge the mini zoo."
    )
    parser.add_argument("--base", default="mini", help="mini, or a pipeline directory")
    parser.add_argument("--clip", type=Path, help="a CLIPModel directory")
    parser.add_argument("--adapter", type=Path, help="a T2IAdapter directory")
    parser.add_argument("--controlnet", type=Path, help="a ControlNetModel directory")
    parser.add_argument("--state", type=Path, default=Path(".zoo"))
    parser.add_argument("--quick", action="store_true", help="few pictures")
    parser.add_argument("--out", type=Path, required=True, help="for the grids")
    options = parser.parse_args(arguments)
    models = Models(
        options.base, options.clip, options.adapter, options.controlnet, options.state
    )
    try:
        result = measure(models, QUICK if options.quick else Counts(), options.out)
    except MosError as error:
        _say(f"error: {error}")
        return 2
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
