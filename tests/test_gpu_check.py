"""The GPU check runs, on the processor with tiny shapes: the code a GPU would run."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.gpu_check.__main__ import main

QUICK = (
    *("tuning-sd15", "regions", "fusion", "throughput", "numerics-sd15"),
    *("tuning-sdxl", "numerics-sdxl", "capture"),
)
"""All sections but those that compile, or start programs."""


def test_every_section_measures_on_the_processor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gpu_check.json"
    assert main(["--smoke", "--out", str(path), *QUICK]) == 0, capsys.readouterr()
    told = json.loads(path.read_text())
    rows = told["rows"]
    assert told["device"] == "cpu"
    assert {row["section"] for row in rows} >= {
        *("tuning sd15", "tuning sdxl", "regions", "fusion", "throughput"),
        *("numerics sd15", "numerics sdxl", "capture of one concept"),
    }
    assert all(row["figures"] or row["skipped"] for row in rows)
    (equality,) = [row for row in rows if row["case"] == "against a float64 solve"]
    assert equality["met"]
    assert "largest_relative_error" in capsys.readouterr().out


def test_sections_are_skipped_with_a_reason_when_no_time_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gpu_check.json"
    words = ("--smoke", "--minutes", "0", "--out", str(path), "fusion", "regions")
    assert main(list(words)) == 0
    rows = json.loads(path.read_text())["rows"]
    assert [row["section"] for row in rows] == ["regions", "fusion"]
    assert all("0 s left" in row["skipped"] for row in rows)
