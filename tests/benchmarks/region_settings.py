"""What settings against leakage do to regional pictures, on the same layouts.

    python -m tests.benchmarks.region_settings [--subjects out/evaluation/subjects]
        [--concepts ada,bea,cid] [--layouts 30] [--vary lead=0,0.15,0.5]
        [--control T2I-Adapter] [--base mini]

The concepts are fused once; then one JSON line for the base's own settings and one for
each other value, everything else being the base's own. `--vary` may stand several
times; `lead=0.3&isolation=0` changes several at once, and `weight` is the control's.
Layouts, seeds and judge are those of `mos-lab evaluate --only regions`, whose
subjects this reads.

- `right`, `whole`: the share of regions whose own concept is nearest, and of pictures
  in which every region is right;
- `alignment`: mean cosine of regions' crops with their own concept's pictures;
- `gained`, `lost`: regions right here and wrong with the base's own settings, and the
  other way round. Between settings that are equally good both are alike.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from mos_lab.evaluation.cache import ResultCache
from mos_lab.evaluation.fusion_table import Bench
from mos_lab.evaluation.measuring import Sampled
from mos_lab.evaluation.methods import gradient
from mos_lab.evaluation.regions_controls import STEERINGS
from mos_lab.evaluation.regions_table import (
    Verdict,
    draw_layouts,
    layouts_of,
    shares_right,
    verdicts_on,
)
from mos_lab.evaluation.subjects import Reference, Subject, read_subject, reference
from mos_model.bases.base import load_base
from mos_model.concepts.concept import FusedModel
from mos_model.metrics import load_metrics
from mos_model.sampling import sampling

GRID: Final = (
    *("lead=0,0.15,0.45,0.6", "isolation=0,0.5", "base_ratio=0.1,0.25"),
    *("exclude_others=1", "lead=0&isolation=0"),
)

Setting = dict[str, float | bool]


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description="Settings of regional sampling.")
    subjects = Path("out/evaluation/subjects")
    parser.add_argument("--subjects", type=Path, default=subjects)
    parser.add_argument("--concepts", default="ada,bea,cid")
    parser.add_argument("--layouts", type=int, default=30)
    parser.add_argument("--vary", action="append")
    parser.add_argument("--control", choices=tuple(STEERINGS))
    parser.add_argument("--base", default="mini")
    options = parser.parse_args()
    names = options.concepts.split(",")
    if not options.subjects.is_dir():
        reason = f"no {options.subjects}; mos-lab evaluate makes it"
        print(json.dumps({"benchmark": "region_settings", "skipped": reason}))
        return
    group = [read_subject(options.subjects / name) for name in names]
    base, metrics = load_base(options.base), load_metrics()
    side = int(base.unet.config.sample_size) * int(base.pipeline.vae_scale_factor)
    nowhere = ResultCache(Path(), {})
    bench = Bench(
        base, metrics, Sampled(side=side), nowhere, lambda _: None, lambda *_: None
    )
    references = [reference(metrics, subject) for subject in group]
    model = gradient(base, group)
    own: Sequence[Sequence[Verdict]] | None = None
    for setting in [{}, *settings_of(options.vary or GRID)]:
        found = verdicts(
            bench, model, group, references, setting, options.layouts, options.control
        )
        own = own or found
        line = {
            "benchmark": "region_settings",
            "base": options.base,
            "concepts": names,
            "control": options.control,
            "layouts": options.layouts,
            "setting": setting,
            **{name: round(share, 4) for name, share in shares_right(found).items()},
            **compared(found, own),
        }
        print(json.dumps(line), flush=True)


def settings_of(varied: Sequence[str]) -> list[Setting]:
    """`lead=0,0.5` is two settings, `lead=0&isolation=0` one of two changes."""
    settings: list[Setting] = []
    for text in varied:
        if "&" in text:
            pairs = [part.split("=") for part in text.split("&")]
            settings.append({name: _value(name, value) for name, value in pairs})
            continue
        name, values = text.split("=")
        settings += [{name: _value(name, value)} for value in values.split(",")]
    return settings


def verdicts(
    bench: Bench,
    model: FusedModel,
    subjects: Sequence[Subject],
    references: Sequence[Reference],
    setting: Setting,
    layouts: int,
    control: str | None,
) -> list[list[Verdict]]:
    """On every region of every layout, sampled with one setting."""
    given: dict[str, Any] = dict(setting)
    steering = None if control is None else STEERINGS[control]
    if steering is not None and "weight" in given:
        steering = replace(steering, weight=given.pop("weight"))
    made = layouts_of(subjects, "regions", bench.plan.side, layouts, steering=steering)
    with sampling(bench.base, model) as sampler:
        pictures = draw_layouts(bench, sampler, made, **given)
    return verdicts_on(bench, pictures, made, references)


def compared(
    found: Sequence[Sequence[Verdict]], own: Sequence[Sequence[Verdict]]
) -> dict[str, float]:
    """Mean alignment, and the regions that changed."""
    regions = [verdict for picture in found for verdict in picture]
    before = [verdict for picture in own for verdict in picture]
    pairs = list(zip(regions, before, strict=True))
    return {
        "alignment": round(fmean(verdict.alignment for verdict in regions), 4),
        "gained": sum(now.right and not then.right for now, then in pairs),
        "lost": sum(then.right and not now.right for now, then in pairs),
    }


def _value(name: str, text: str) -> float | bool:
    return bool(int(text)) if name == "exclude_others" else float(text)


if __name__ == "__main__":
    main()
