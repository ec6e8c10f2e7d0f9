"""The gate's decision rule, without any picture."""

from math import inf, nan

import pytest

from mos_server.fusion.gate import Behaviour, GateLimits, excesses
from mos_server.fusion.gate.behaviour import weight

LIMITS = GateLimits(generic=0.2, words=0.2, concepts=0.5, lost=0.3)


def test_figures_at_their_limits_pass() -> None:
    found = Behaviour(0.2, {"a dog": 0.2}, {"north/rex": 0.5}, {"north/rex": 0.3})
    assert excesses(found, LIMITS) == []
    assert weight(found, LIMITS) == 0


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (Behaviour(generic=0.21), "generic pictures moved: 0.21 (limit 0.2)"),
        (
            Behaviour(words={"a dog": 0.4, "a cat": 0.1}),
            "pictures of 'a dog' moved: 0.4 (limit 0.2)",
        ),
        (
            Behaviour(concepts={"north/rex": 0.6}),
            "pictures of north/rex moved: 0.6 (limit 0.5)",
        ),
        (
            Behaviour(lost={"north/rex": 174.0}),
            "share lost of north/rex: 174 (limit 0.3)",
        ),
        (Behaviour(generic=nan), "generic pictures moved: nan (limit 0.2)"),
        (
            Behaviour(lost={"north/rex": inf}),
            "share lost of north/rex: inf (limit 0.3)",
        ),
    ],
)
def test_one_figure_beyond_its_limit_is_named(found: Behaviour, what: str) -> None:
    assert [str(one) for one in excesses(found, LIMITS)] == [what]


def test_worst_figure_comes_first_and_no_figure_counts_for_all() -> None:
    found = Behaviour(0.4, {"a dog": 200.0}, {}, {"north/rex": nan})
    whats = [one.what for one in excesses(found, LIMITS)]
    assert whats[-1] == "generic pictures moved"
    assert weight(found, LIMITS) == 10 + 10 + 1


def test_every_further_concept_may_cost_its_share() -> None:
    """As honest federations of 2 to 14 concepts do: 0.08, 0.27, 0.51, 0.72."""
    limits = GateLimits(lost=0.1)
    among = [limits.lost_among(count) for count in (1, 2, 4, 14)]
    assert among == pytest.approx([0.1, 0.1, 1 - 0.9**3, 1 - 0.9**13])
    lost = {f"north/c{number}": 0.2 for number in range(4)}
    assert excesses(Behaviour(lost=lost), limits) == []
    assert len(excesses(Behaviour(lost=dict(list(lost.items())[:2])), limits)) == 2
    assert GateLimits(lost=5.0).lost_among(14) == 5.0
