"""The summary of all draws as a Markdown page."""

from collections.abc import Mapping, Sequence
from typing import Any

from mos_lab.evaluation.draws.config import DrawsConfig
from mos_lab.evaluation.report import table

Figures = Mapping[str, Any]


def markdown(config: DrawsConfig, summary: Figures) -> str:
    """The page: tables of tuning, fusion and regions, with 95% intervals."""
    parts = [
        f"# Evaluation over draws, range `{config.range_name}`",
        f"{summary['draws']} draws of the base `{config.base}`, judged by "
        f"`{config.metrics}`. In brackets 95% bootstrap intervals: of identity and "
        "tuning over individuals, of drift over the class words of every draw, of "
        "whole pictures over draws.",
    ]
    if summary["tuning"]:
        parts += ["## Tuning", _tuning(summary["tuning"])]
    for count, methods in summary["fusion"].items():
        parts += [f"## Fusion of {count}", _fusion(methods)]
    if summary["regions"]:
        parts += ["## Regions", _regions(summary["regions"])]
    return "\n\n".join(parts) + "\n"


def _tuning(found: Figures) -> str:
    own = found["of own likeness"]
    lines = [
        f"Samples reach {_percent(own)} of the training pictures' own likeness "
        f"({own['count']} concepts; least {found['least of own likeness']:.1%}; "
        f"{found['below 85%']} below 85%)."
    ]
    rows = [
        (
            key,
            _number(found[key]),
            _number(found.get(f"plain {key}")),
            _number(found.get(f"{key}, ED-LoRA less plain"), "+.3f"),
        )
        for key in ("image", "words", "text")
    ]
    names = ("alignment", "ED-LoRA", "plain LoRA", "ED-LoRA less plain, paired")
    compared = found.get("plain image")
    if compared:
        lines.append(f"Paired over {compared['count']} individuals:")
    return "\n\n".join([*lines, table(names, rows)])


def _fusion(methods: Figures) -> str:
    head = (
        *("method", "concepts", "kept", "drift", "largest drift of a class", "text"),
        *("kept, ours less it", "drift, ours less it", "seconds"),
    )
    return table(head, [_fusion_row(name, own) for name, own in methods.items()])


def _fusion_row(name: str, own: Figures) -> Sequence[str]:
    return (
        name,
        str(own["kept"]["count"]),
        _percent(own["kept"]),
        _number(own["drift"]),
        f"{own['largest drift of a class']:.3f}",
        f"{own['text']:.3f}",
        _percent(own.get("kept, ours less it"), "+.1%"),
        _number(own.get("drift, ours less it"), "+.3f"),
        f"{own['seconds']:.1f}",
    )


def _regions(found: Figures) -> str:
    rows = [
        (
            title,
            _percent(own["right"]),
            _percent(own["all right"]),
            f"{own['least individual']:.1%}",
        )
        for title, own in found.items()
    ]
    return table(("group", "regions right", "all three right", "least concept"), rows)


def _percent(own: Figures | None, form: str = ".1%") -> str:
    return _number(own, form)


def _number(own: Figures | None, form: str = ".3f") -> str:
    if own is None:
        return ""
    low, high = format(own["low"], form), format(own["high"], form)
    return f"{format(own['estimate'], form)} [{low}, {high}]"
