"""Progress where standard error is a pipe: news at once, the rest now and then."""

import pytest

from mos_lab.commands.progress_lines import ProgressLines
from mos_lab.simulation.progress import SimulationProgress, SiteProgress


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.partition("s  ")[2] for line in capsys.readouterr().err.splitlines()]


def tuning(step: int) -> SimulationProgress:
    site = SiteProgress("tuning", "rex", "dog", 8, step, 40, 0.25)
    return SimulationProgress({"north": site}, started=True)


def test_every_change_is_a_line_and_no_line_comes_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tuned = SiteProgress("refused", "rex", "dog", reason="bad-signature")
    with ProgressLines() as lines:
        for now in (tuning(1), SimulationProgress({"north": tuned}, release=2)):
            lines.show(now)
            lines.show(now)
        lines.count("drawing", 3, 3, "the bare base")
    assert told(capsys) == [
        "starting Flower",
        "centre: ready",
        "north: <rex> tuning 1/40, loss 0.2500",
        "north: <rex> refused: bad-signature",
        "centre: release 2 is published",
        "drawing: 3/3 the bare base",
    ]


def test_steps_between_come_as_often_as_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for every, lines in ((0.0, 3), (3600.0, 1)):
        display = ProgressLines(every_seconds=every)
        for step in (1, 2, 3):
            display.show(tuning(step))
        assert sum("tuning" in line for line in told(capsys)) == lines
