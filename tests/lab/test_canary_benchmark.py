"""The arithmetic of the canary benchmark: limits from a half, rates with intervals."""

from pathlib import Path
from typing import Any

import pytest

from mos_server.fusion.gate import GateLimits
from tests.benchmarks.canary import Lines, beyond, chosen, rate, rates


def line(set_: str, concepts: int, words: float, lost: float) -> dict[str, Any]:
    most = {"generic": 0.01, "words": words, "concepts": 0.0, "lost": lost}
    figures = {
        "generic": 0.01,
        "words": {"a dog": words},
        "concepts": {},
        "lost": {f"s/{n}": lost for n in range(concepts)},
    }
    shares = {"share": 0.2, "share_of_join": 1.0, "beyond": []}
    return {"set": set_, "concepts": concepts, "most": most, "figures": figures} | (
        shares
    )


def test_rate_has_wilsons_interval() -> None:
    assert rate([True, *[False] * 9]) == {
        "of": "1/10",
        "share": 0.1,
        "in": [0.018, 0.404],
    }
    assert rate([False] * 32)["in"] == [0.0, 0.107]


def test_chosen_limits_hold_what_they_were_chosen_from_and_little_more() -> None:
    calm = [line("choose", 2, 0.05, 0.1), line("choose", 8, 0.06, 0.5)]
    limits = chosen(GateLimits(), calm)
    assert limits.words == pytest.approx(0.12)
    assert limits.lost == pytest.approx(1.25 * 0.1)
    assert not any(beyond(one, limits) for one in calm)
    assert beyond(line("x", 2, 0.05, 0.2), limits)
    assert not beyond(line("x", 8, 0.05, 0.2), limits)
    assert beyond(line("x", 2, 0.13, 0.1), limits)


def test_run_that_was_cut_goes_on_and_the_table_counts_what_is_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "federations.jsonl"
    lines = Lines(path)
    lines.add("a", lambda: line("choose", 2, 0.05, 0.1))
    lines.add("b", lambda: line("noise", 2, 0.5, 0.1) | {"right": False})
    with path.open("a") as file:
        file.write('{"federation": "c"')
    again = Lines(path)
    again.add("a", lambda: pytest.fail("measured twice"))
    table = {row.get("set"): row for row in rates(again, GateLimits(), 1.0)}
    assert table["choose"]["held"]["of"] == "0/1"
    assert table["noise"]["held"]["of"] == "1/1"
    assert table[None]["join_seconds"] == 1.0
