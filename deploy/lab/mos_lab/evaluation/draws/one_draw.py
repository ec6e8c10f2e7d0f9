"""One draw: its concepts tuned side by side, then everything that is measured of it.

In order: concepts, each alone, the fusion of the fewest, regional pictures, the fusion
of more. What is found is written at once, finding by finding (`evaluation.cache`), and
as a whole after each part, so that an interrupted draw loses little and goes on.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch

from mos_client.pictures import read_folder
from mos_client.tuning import TuneSettings
from mos_lab.evaluation.cache import ResultCache
from mos_lab.evaluation.draws.config import DrawsConfig
from mos_lab.evaluation.draws.ranges import salt_of, three_classes
from mos_lab.evaluation.draws.tune_together import Individual, tune_together
from mos_lab.evaluation.fusion_table import Bench, fusion_row, single_alignments
from mos_lab.evaluation.measuring import Sampled
from mos_lab.evaluation.methods import METHODS, Method, gradient, recorded, settings_of
from mos_lab.evaluation.regions_table import draw_layouts, layouts_of, verdicts_on
from mos_lab.evaluation.run import keep_grid, side_of
from mos_lab.evaluation.settings_table import changes_of, method_with
from mos_lab.evaluation.subjects import Reference, Subject, read_subject, reference
from mos_lab.evaluation.tuning_table import PLAIN, plain_rows, tuning_rows
from mos_model.bases.base import load_base
from mos_model.devices import pick_device
from mos_model.metrics import load_metrics
from mos_model.sampling import sampling
from mos_runtime.files import write_atomically
from mos_server.fusion import FusionSettings
from mos_zoo.world.individuals import (
    ALIKE,
    MIXED,
    alike_class,
    individual,
    is_marked,
    write_individuals,
)

FILE: Final = "draw.json"
_ACROSS: Final = 6
PARTS: Final = ("tuned", "alone", "fused", "regions", "more fused")


def find_draw(
    config: DrawsConfig, number: int, folder: Path, threads: int | None = None
) -> Path:
    """Find everything of one draw, or go on where an earlier run stopped.

    Args:
        config: What is found.
        number: Of the draw, from 0.
        folder: For everything of this draw.
        threads: Of torch on the CPU; as many as it takes by default.

    Returns:
        The file of its figures.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    return _Draw(config, number, folder).find()


class _Draw:
    """The parts of one draw, in their order."""

    def __init__(self, config: DrawsConfig, number: int, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._salt = salt_of(config.range_name, number)
        self._counts = config.counts_of(number)
        self._base = load_base(config.base, device=pick_device(config.device))
        device = self._base.device
        metrics = load_metrics(config.metrics, device=device)
        plan = Sampled(
            seeds=tuple(range(config.seeds)),
            side=side_of(self._base),
            steps=config.steps,
        )
        circumstances = {
            "base": self._base.inventory.base,
            "sample": dict(self._base.defaults.get("sample", {})),
            "metrics": config.metrics,
            "plan": asdict(plan),
            "device": device.type,
        }
        cells = ResultCache(folder / "found", circumstances)
        self._bench = Bench(
            self._base,
            metrics,
            plan,
            cells,
            lambda _: None,
            lambda name, shown: keep_grid(folder / "grids" / f"{name}.png", shown),
        )
        self._found: dict[str, Any] = {
            "range": config.range_name,
            "number": number,
            "alike_class": alike_class(self._salt),
            "device": device.type,
            "individuals": {},
            "fusion": {},
            "regions": {},
            "seconds": {},
        }

    def find(self) -> Path:
        names = MIXED[: max(self._counts)]
        begun = time.monotonic()
        both = self._tuned("ed-lora", [*names, *ALIKE])
        plain = self._tuned("lora", names[: self._config.plain])
        subjects, alike = both[: len(names)], both[len(names) :]
        self._write(PARTS[0], begun)
        known = {s.name: reference(self._bench.metrics, s) for s in both}
        begun = time.monotonic()
        single = self._alone(subjects, plain, known)
        self._write(PARTS[1], begun)
        begun = time.monotonic()
        self._fused(subjects, known, single, self._counts[0])
        self._write(PARTS[2], begun)
        begun = time.monotonic()
        three = three_classes(self._salt, self._counts[0])
        self._regions("three classes", [s for s in subjects if s.name in three], known)
        self._regions("one class", alike, known)
        self._write(PARTS[3], begun)
        begun = time.monotonic()
        for count in self._counts[1:]:
            self._fused(subjects, known, single, count)
        return self._write(PARTS[4], begun)

    def _tuned(self, method: str, names: Sequence[str]) -> list[Subject]:
        made = self._folder / method
        missing = [n for n in names if not (made / n / f"{n}.safetensors").is_file()]
        if missing:
            write_individuals(made, {name: name for name in missing}, salt=self._salt)
            each = [
                Individual(
                    name,
                    individual(name, self._salt).kind,
                    read_folder(made / name, min_side=1).pictures,
                )
                for name in missing
            ]
            settings = TuneSettings.for_base(
                self._base, method=method, steps=self._config.tune_steps
            )
            tuned = tune_together(each, base=self._base, settings=settings)
            for own, concept in zip(each, tuned, strict=True):
                path = made / own.name / f"{own.name}.safetensors"
                write_atomically(path, concept.to_bytes())
        return [read_subject(made / name) for name in names]

    def _alone(
        self,
        subjects: Sequence[Subject],
        plain: Sequence[Subject],
        known: dict[str, Reference],
    ) -> dict[str, dict[str, float]]:
        bench = self._bench
        references = [known[s.name] for s in subjects]
        compared = [known[s.name] for s in plain]
        single = single_alignments(bench, subjects, references)
        plain_single = single_alignments(bench, plain, compared, kind=PLAIN)
        compared_rows = plain_rows(bench, plain, compared, plain_single)
        for row in tuning_rows(bench, subjects, references, single, compared_rows):
            marked = {"marked": is_marked(row.name)}
            self._found["individuals"][row.name] = asdict(row) | marked
        return single

    def _fused(
        self,
        subjects: Sequence[Subject],
        known: dict[str, Reference],
        single: dict[str, dict[str, float]],
        count: int,
    ) -> None:
        own = subjects[:count]
        references = [known[s.name] for s in own]
        rows = self._found["fusion"].setdefault(str(count), {})
        for name, (method, settings) in self._methods().items():
            label = name.replace("=", "-").replace("&", "-")
            row = fusion_row(
                self._bench, label, method, own, references, single, settings
            )
            rows[name] = asdict(row)
            self._write("", time.monotonic())

    def _methods(self) -> dict[str, tuple[Method, FusionSettings | None]]:
        """What is compared, by name: the methods, and changed settings of ours."""
        found = {
            name: (METHODS[name], settings_of(name, self._base))
            for name in self._config.methods
        }
        for text, changed in changes_of(self._config.changes).items():
            if changed:
                settings = FusionSettings.for_base(self._base, **changed)
                found[text] = (method_with(settings), settings)
        return found

    def _regions(
        self, title: str, subjects: Sequence[Subject], known: dict[str, Reference]
    ) -> None:
        references = [known[s.name] for s in subjects]
        bench, names = self._bench, [s.name for s in subjects]

        def find() -> dict[str, Any]:
            model = gradient(self._base, subjects)
            side, count = bench.plan.side, self._config.layouts
            made = layouts_of(subjects, "regions", side, count)
            with sampling(self._base, model) as sampler:
                pictures = draw_layouts(bench, sampler, made)
            wide = min(_ACROSS, len(pictures))
            whole = range(0, len(pictures) - wide + 1, wide)
            rows = {str(k): pictures[k : k + wide] for k in whole}
            bench.on_pictures(f"regions-{title.replace(' ', '-')}", rows)
            verdicts = verdicts_on(bench, pictures, made, references)
            return {
                "pictures": [
                    {
                        names[k]: verdict.right
                        for k, verdict in zip(order, own, strict=True)
                    }
                    for (_, order), own in zip(made, verdicts, strict=True)
                ]
            }

        on = [s.digest for s in subjects] + recorded(
            settings_of("gradient", self._base)
        )
        cell = f"regions-{title.replace(' ', '-')}"
        on.append(str(self._config.layouts))
        self._found["regions"][title] = bench.cache.get(cell, on, find)["pictures"]

    def _write(self, part: str, begun: float) -> Path:
        if part:
            self._found["seconds"][part] = round(time.monotonic() - begun, 1)
        path = self._folder / FILE
        text = json.dumps(self._found, indent=1, sort_keys=True)
        write_atomically(path, f"{text}\n".encode())
        return path
