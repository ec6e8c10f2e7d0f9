"""All draws of a range in a few figures, each with its interval over individuals.

Kept is a ratio of sums over individuals; drift is taken over the class words of every
draw; a region's share is taken over the individuals that stand in regions, a picture's
over the draws. Differences are of the same individuals, ours less the other's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any, Final

from mos_lab.evaluation.draws.intervals import Interval, mean_interval, ratio_interval

OURS: Final = "gradient"

Figures = Mapping[str, Any]
"""A draw as `one_draw` writes it."""


def summary_of(draws: Sequence[Figures]) -> dict[str, Any]:
    """Plain values for JSON; parts that no draw has yet are empty."""
    return {
        "draws": len(draws),
        "tuning": tuning_summary(draws),
        "fusion": fusion_summary(draws),
        "regions": regions_summary(draws),
    }


def tuning_summary(draws: Sequence[Figures]) -> dict[str, Any]:
    """Tuning's figures, and ED-LoRA's beside plain LoRA's on the same individuals."""
    rows = [row for draw in draws for row in draw["individuals"].values()]
    if not rows:
        return {}
    both = [row for row in rows if row["plain"] is not None]
    shares = [row["image"] / row["mutual"] for row in rows]
    found: dict[str, Any] = {
        "of own likeness": _ratio(rows, lambda r: r["image"], lambda r: r["mutual"]),
        "least of own likeness": min(shares),
        "below 85%": sum(share < 0.85 for share in shares),
        "base_text": _mean(rows, "base_text"),
        **{key: _mean(both or rows, key) for key in ("image", "words", "text")},
    }
    for key in ("image", "words", "text") if both else ():
        found[f"plain {key}"] = asdict(mean_interval([r["plain"][key] for r in both]))
        differences = [r[key] - r["plain"][key] for r in both]
        found[f"{key}, ED-LoRA less plain"] = asdict(mean_interval(differences))
    return found


def fusion_summary(draws: Sequence[Figures]) -> dict[str, Any]:
    """By number of concepts and method: kept, drift, text, and ours less the method."""
    found: dict[str, Any] = {}
    for count in sorted({key for d in draws for key in d["fusion"]}, key=int):
        with_it = [draw for draw in draws if count in draw["fusion"]]
        methods = dict.fromkeys(m for d in with_it for m in d["fusion"][count])
        found[count] = {
            method: _method_summary(with_it, count, method) for method in methods
        }
    return found


def regions_summary(draws: Sequence[Figures]) -> dict[str, Any]:
    """By kind of group: regions and whole pictures that are right."""
    found: dict[str, Any] = {}
    for title in dict.fromkeys(t for draw in draws for t in draw["regions"]):
        groups = [d["regions"][title] for d in draws if title in d["regions"]]
        individuals = [
            fmean(picture[name] for picture in group)
            for group in groups
            for name in group[0]
        ]
        whole = [fmean(all(p.values()) for p in group) for group in groups]
        found[title] = {
            "right": asdict(mean_interval(individuals)),
            "all right": asdict(mean_interval(whole)),
            "least individual": min(individuals),
        }
    return found


def _method_summary(
    draws: Sequence[Figures], count: str, method: str
) -> dict[str, Any]:
    own = [draw for draw in draws if method in draw["fusion"][count]]
    rows = [draw["fusion"][count][method] for draw in own]
    images = [v for row in rows for v in row["images"].values()]
    single = [
        draw["individuals"][name]["image"]
        for draw, row in zip(own, rows, strict=True)
        for name in row["images"]
    ]
    drifts = [value for row in rows for value in row["drifts"].values()]
    found: dict[str, Any] = {
        "draws": len(rows),
        "kept": asdict(ratio_interval(images, single)),
        "drift": asdict(mean_interval(drifts)),
        "largest drift of a class": max(drifts),
        "text": fmean(row["text"] for row in rows),
        "seconds": fmean(row["seconds"] for row in rows),
    }
    ours = [d["fusion"][count].get(OURS) for d in own]
    pairs = [(o, r) for o, r in zip(ours, rows, strict=True) if o is not None]
    if method == OURS or len(pairs) < len(rows):
        return found
    gained = [o["images"][n] - r["images"][n] for o, r in pairs for n in r["images"]]
    moved = [o["drifts"][w] - r["drifts"][w] for o, r in pairs for w in r["drifts"]]
    found["kept, ours less it"] = asdict(ratio_interval(gained, single))
    found["drift, ours less it"] = asdict(mean_interval(moved))
    return found


def _mean(rows: Sequence[Figures], key: str) -> dict[str, Any]:
    return asdict(mean_interval([row[key] for row in rows]))


def _ratio(
    rows: Sequence[Figures],
    above: Callable[[Figures], float],
    below: Callable[[Figures], float],
) -> dict[str, Any]:
    found: Interval = ratio_interval([above(r) for r in rows], [below(r) for r in rows])
    return asdict(found)
