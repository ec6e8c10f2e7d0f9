"""What an evaluation leaves: JSON, a Markdown page with the paper's figures, plots."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from mos_lab.evaluation.fusion_table import PAPER, FusionRow
from mos_lab.evaluation.regions_table import RegionsRow
from mos_lab.evaluation.tables import Evaluation
from mos_lab.evaluation.tuning_table import TuningRow
from mos_runtime.files import write_atomically
from mos_zoo.world.individuals import MIXED, is_marked

JSON_FILE: Final = "evaluation.json"
PAGE_FILE: Final = "evaluation.md"
PLOT_FILE: Final = "identity.png"
_NO_CONTROLS: Final = (
    "Without controls: there are some for the base `mini` alone, and for the classes "
    "of its world."
)


def write_report(evaluation: Evaluation, out: Path) -> Path:
    """Write everything into a folder.

    Returns:
        The Markdown page.

    Raises:
        StorageError: the disk is full or read-only.
    """
    text = json.dumps(evaluation.to_dict(), indent=1, sort_keys=True)
    write_atomically(out / JSON_FILE, f"{text}\n".encode())
    if evaluation.fusion:
        write_atomically(out / PLOT_FILE, identity_plot(evaluation.fusion))
    page = out / PAGE_FILE
    write_atomically(page, markdown(evaluation).encode())
    return page


def markdown(evaluation: Evaluation) -> str:
    """The tables as a page."""
    config = evaluation.config
    parts = [
        "# Evaluation",
        f"Base `{config.base}`, judged by `{config.metrics}`. Alignments are mean "
        "cosines of CLIP embeddings, as in Mix-of-Show (arXiv:2305.18292); the paper's "
        "are of another base and another CLIP, so compare shares, not cosines.",
    ]
    if evaluation.tuning:
        parts += ["## Tuning", _tuning(evaluation.tuning)]
    if evaluation.fusion:
        parts += ["## Fusion", _fusion(evaluation.fusion), _paper()]
        parts.append(f"![identity by number of concepts]({PLOT_FILE})")
    if evaluation.settings:
        parts += ["## Settings of fusion", _settings(evaluation.settings)]
    if evaluation.regions:
        parts += ["## Regions", _regions(evaluation)]
    return "\n\n".join(parts) + "\n"


def identity_plot(rows: Sequence[FusionRow]) -> bytes:
    """Identity kept, and drift, against the number of concepts; a PNG file."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    kept, drift = figure.subplots(1, 2)
    for method in dict.fromkeys(row.method for row in rows):
        own = sorted((r for r in rows if r.method == method), key=lambda r: r.concepts)
        numbers = [row.concepts for row in own]
        kept.plot(numbers, [100 * r.kept for r in own], marker="o", label=method)
        drift.plot(numbers, [r.drift for r in own], marker="o", label=method)
    kept.set_ylabel("image alignment kept, % of single")
    drift.set_ylabel("drift of ordinary pictures")
    for axes in (kept, drift):
        axes.set_xlabel("concepts fused")
        axes.set_xscale("log", base=2)
        numbers = sorted({row.concepts for row in rows})
        axes.set_xticks(numbers, [str(number) for number in numbers])
        axes.grid(alpha=0.3)
    kept.axhline(100, color="grey", linewidth=0.8)
    kept.legend(frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def _tuning(rows: Sequence[TuningRow]) -> str:
    cells = [
        (
            f"`{row.name}`",
            row.class_word,
            "marked" if row.name in MIXED and is_marked(row.name) else "ordinary",
            *_tuning_figures([row]),
        )
        for row in rows
    ]
    cells.append(("mean", "", "", *_tuning_figures(rows)))
    compared = [row for row in rows if row.plain is not None]
    if compared and len(compared) < len(rows):
        title = f"mean of the {len(compared)} tuned both ways"
        cells.append((title, "", "", *_tuning_figures(compared)))
    head = (
        *("concept", "class", "individual", "pictures among themselves"),
        *("samples", "words alone", "text", "text, base"),
        *("plain LoRA: samples", "its word alone", "text"),
    )
    return table(head, cells)


def _tuning_figures(rows: Sequence[TuningRow]) -> tuple[str, ...]:
    share = fmean(row.of_mutual for row in rows)
    plain = [row.plain for row in rows if row.plain is not None]
    by_plain = ["", "", ""]
    if len(plain) == len(rows):
        by_plain = [
            f"{fmean(row.image for row in plain):.3f}",
            f"{fmean(row.words for row in plain):.3f}",
            f"{fmean(row.text for row in plain):.3f}",
        ]
    return (
        f"{fmean(row.mutual for row in rows):.3f}",
        f"{fmean(row.image for row in rows):.3f} ({share:.0%})",
        f"{fmean(row.words for row in rows):.3f}",
        f"{fmean(row.text for row in rows):.3f}",
        f"{fmean(row.base_text for row in rows):.3f}",
        *by_plain,
    )


def _fusion(rows: Sequence[FusionRow]) -> str:
    cells = [
        (
            str(row.concepts),
            row.method,
            f"{row.single:.3f}",
            f"{row.image:.3f}",
            f"{row.kept:.1%}",
            f"{row.text:.3f}",
            f"{row.drift:.4f}",
            f"{row.seconds:.1f}",
        )
        for row in sorted(rows, key=lambda r: r.concepts)
    ]
    head = (
        *("concepts", "method", "single", "fused", "kept"),
        *("text", "drift of the base", "seconds"),
    )
    return table(head, cells)


def _settings(rows: Sequence[FusionRow]) -> str:
    cells = [
        (
            row.method,
            f"{row.kept:.1%}",
            f"{row.text:.3f}",
            f"{row.drift:.4f}",
            f"{row.seconds:.1f}",
        )
        for row in rows
    ]
    title = f"{rows[0].concepts} concepts; one setting is changed, the others stay.\n\n"
    head = ("changed", "kept", "text", "drift of the base", "seconds")
    return title + table(head, cells)


def _paper() -> str:
    cells = [
        (name, f"{single:.3f}", f"{fused:.3f}", f"{fused / single:.1%}")
        for name, (single, fused) in PAPER.items()
    ]
    return "The paper's own figures:\n\n" + table(
        ("method", "single", "fused", "kept"), cells
    )


def _regions(evaluation: Evaluation) -> str:
    def cells_of(title: str, row: RegionsRow) -> tuple[str, ...]:
        return (
            title,
            row.way,
            str(row.layouts),
            f"{row.right:.1%}",
            f"{row.whole:.1%}",
        )

    cells = [
        cells_of(title, row)
        for title, rows in evaluation.regions.items()
        for row in rows
    ]
    head = ("three of", "prompted by", "pictures", "regions right", "pictures right")
    shown = table(head, cells)
    if any(row.is_steered for rows in evaluation.regions.values() for row in rows):
        return shown
    return f"{shown}\n\n{_NO_CONTROLS}"


def table(head: Sequence[str], cells: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join(f"| {' | '.join(str(c) for c in line)} |" for line in lines)
