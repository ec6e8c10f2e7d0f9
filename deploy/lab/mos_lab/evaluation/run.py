"""An evaluation from its subjects to its tables.

In order: the subjects are read, or made: a federation is simulated on individuals of
the mini world, each site tuning one. Then every table that is asked for, finding by
finding; what an earlier run found is not sought again. The tables are written last.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from mos_lab.errors import EvaluationError
from mos_lab.evaluation.cache import ResultCache
from mos_lab.evaluation.config import EvaluationConfig
from mos_lab.evaluation.fusion_table import Bench
from mos_lab.evaluation.measuring import Sampled
from mos_lab.evaluation.settings_table import CONCEPTS
from mos_lab.evaluation.subjects import read_subjects
from mos_lab.evaluation.tables import TOGETHER, Counter, Evaluation, Tables
from mos_lab.simulation.simulation import OnProgress, simulate
from mos_model.bases.base import Base, load_base
from mos_model.devices import pick_device
from mos_model.metrics import load_metrics
from mos_zoo.world.individuals import ALIKE, MIXED, write_individuals

_SUBJECTS: Final = "subjects"
_PLAIN: Final = "plain"
_FOUND: Final = "found"
_FEDERATION: Final = "federation"

OWN_FOLDERS: Final = (_SUBJECTS, _FOUND, _FEDERATION)
"""By which a folder is known as that of an earlier evaluation."""


def evaluate(
    config: EvaluationConfig,
    out: Path,
    *,
    on_progress: OnProgress = lambda _: None,
    on_table: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> Evaluation:
    """Find everything that is asked, or go on where an earlier run stopped.

    Args:
        config: What to find.
        out: The folder for everything.
        on_progress: Called with the state of the simulated federation.
        on_table: Called with what is measured, pictures drawn, and their total.

    Raises:
        EvaluationError: too few concepts for what is asked.
        MosError: the base, the metrics or the concepts cannot be used.
    """
    base = load_base(config.base, device=pick_device(config.device))
    metrics = load_metrics(config.metrics)
    wanted = _wanted(config)
    folder = config.subjects or out / _SUBJECTS
    if config.subjects is None:
        _make_subjects(config, wanted, out, on_progress)
    subjects = read_subjects(folder)
    plan = Sampled(
        seeds=tuple(range(config.seeds)), side=side_of(base), steps=config.steps
    )
    counter = Counter(on_table)
    bench = Bench(
        base,
        metrics,
        plan,
        ResultCache(out / _FOUND, _circumstances(config, base, plan)),
        counter.drawn,
        lambda name, shown: keep_grid(out / "grids" / f"{name}.png", shown),
    )
    return Tables(config, bench, subjects, counter, out / _PLAIN).find()


def _wanted(config: EvaluationConfig) -> list[str]:
    """Names of the mini world's individuals that the tables need."""
    most = max(config.counts) if "fusion" in config.tables else 0
    if "tuning" in config.tables:
        most = max(most, 6)
    if "settings" in config.tables:
        most = max(most, CONCEPTS)
    if "regions" in config.tables:
        most = max(most, TOGETHER)
    if most > len(MIXED):
        raise EvaluationError(
            f"{most} concepts asked for; the mini world has {len(MIXED)} individuals "
            "for evaluation; pass more with --subjects"
        )
    alike = list(ALIKE) if "regions" in config.tables else []
    return [*MIXED[:most], *alike]


def _make_subjects(
    config: EvaluationConfig, wanted: Sequence[str], out: Path, on_progress: OnProgress
) -> None:
    """Tune what is missing, each concept by a simulated site of its own."""
    made = out / _SUBJECTS
    missing = [n for n in wanted if not (made / n / f"{n}.safetensors").is_file()]
    if not missing:
        return
    sites = {f"{name}-site": name for name in missing}
    pictures = out / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    write_individuals(pictures, sites)
    federation = out / _FEDERATION
    outcome = simulate(
        pictures,
        federation,
        base=config.base,
        steps=config.tune_steps,
        on_progress=on_progress,
    )
    for site in outcome.sites:
        name = sites[site.site]
        if not site.concept_file:
            raise EvaluationError(f"site {site.site} tuned nothing: {site.reason}")
        partial = made / f".{name}.part"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(pictures / site.site, partial)
        source = federation / site.concept_file
        shutil.copyfile(source, partial / f"{name}.safetensors")
        shutil.rmtree(made / name, ignore_errors=True)
        partial.rename(made / name)


def _circumstances(
    config: EvaluationConfig, base: Base, plan: Sampled
) -> dict[str, Any]:
    elsewhere = {} if base.device.type == "cpu" else {"device": base.device.type}
    return elsewhere | {
        "base": base.inventory.base,
        "sample": dict(base.defaults.get("sample", {})),
        "metrics": config.metrics,
        "plan": asdict(plan),
    }


def side_of(base: Base) -> int:
    """Pixels of the square pictures that a base draws."""
    return int(base.unet.config.sample_size) * int(base.pipeline.vae_scale_factor)


def keep_grid(path: Path, shown: Mapping[str, Sequence[Image.Image]]) -> None:
    """All pictures of a finding, one row a concept."""
    rows = [np.concatenate([np.asarray(p) for p in row], 1) for row in shown.values()]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part.png")
    Image.fromarray(np.concatenate(rows)).save(partial)
    partial.replace(path)
