"""A fusion report as one self-contained page: three tables shaded as heat maps.

Every cell says its figure too, so that nothing hangs on colour. Names come from
sites and are escaped.
"""

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final

from mos_server.fusion.moments import STAGES

_STAGE_NAMES: Final = {
    "text": "text encoder",
    "cross": "cross-attention K, V",
    "spatial": "spatial attention",
}
_DEEPEST_PERCENT: Final = 70
"""How much heat the darkest cell has: text stays readable on it."""


def render_report(report: Mapping[str, Any]) -> str:
    """The page of one fusion.

    Args:
        report: `FusionReport.to_dict()`, as it is next to every release.
    """
    concepts: Mapping[str, Any] = report["concepts"]
    most = _most_spill(concepts)
    template = Template((files(__package__) / "page.html").read_text("utf-8"))
    count = len(concepts)
    return template.substitute(
        count="One concept" if count == 1 else f"{count} concepts",
        drift=f"{report['drift']:.2%}",
        legend=_legend(1.0),
        spill_legend=_legend(most),
        stages="".join(
            f'<th scope="col">{_STAGE_NAMES[stage]}</th>' for stage in STAGES
        ),
        names="".join(f'<th scope="col">{escape(name)}</th>' for name in concepts),
        concepts="".join(_concept(name, one) for name, one in concepts.items()),
        spill="".join(_spill(name, concepts, most) for name in concepts),
        layers=_layers(report["layers"], list(concepts)),
        settings=escape(json.dumps(report["settings"], sort_keys=True)),
    )


def _concept(name: str, one: Mapping[str, Any]) -> str:
    figures = [one["predicted_loss"], 1 - one["kept_alone"], one["conflict"]]
    figures += [1 - one["kept_by_stage"][stage] for stage in STAGES]
    return _row(name, [_cell(value, 1.0) for value in figures])


def _spill(name: str, concepts: Mapping[str, Any], most: float) -> str:
    own = concepts[name]["spill"]
    cells = [
        '<td class="none">itself</td>'
        if other == name
        else _cell(own[other], most, title=f"{other} on {name}")
        for other in concepts
    ]
    return _row(name, cells)


def _layers(layers: list[Mapping[str, Any]], names: list[str]) -> str:
    rows = []
    for stage in STAGES:
        rows.append(
            f'<tr class="stage"><th scope="rowgroup" colspan="{len(names) + 2}">'
            f"{_STAGE_NAMES[stage]}</th></tr>"
        )
        for layer in layers:
            if layer["stage"] == stage:
                rows.append(_layer(layer, names))
    return "".join(rows)


def _layer(layer: Mapping[str, Any], names: list[str]) -> str:
    cells = [
        _cell(
            _share(layer["residual"][name], layer["size"][name]),
            1.0,
            title=f"{name}, {layer['module']}",
        )
        for name in names
    ]
    cells.append(_cell(_share(layer["drift"], layer["generic"]), 1.0))
    return _row(layer["module"], cells)


def _row(name: str, cells: list[str]) -> str:
    return f'<tr><th scope="row"><code>{escape(name)}</code></th>{"".join(cells)}</tr>'


def _cell(value: float, most: float, *, title: str = "") -> str:
    depth = _DEEPEST_PERCENT * min(1.0, max(0.0, value / most))
    hint = f' title="{escape(title)}"' if title else ""
    return f'<td{hint} style="--v:{depth:.0f}%">{value:.1%}</td>'


def _legend(most: float) -> str:
    return f'<p class="legend"><span>0%</span><i></i><span>{most:.0%}</span></p>'


def _most_spill(concepts: Mapping[str, Any]) -> float:
    """The top of the scale of concept against concept; 1% at least."""
    found: list[float] = [
        share for one in concepts.values() for share in one["spill"].values()
    ]
    return max([0.01, *found])


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
