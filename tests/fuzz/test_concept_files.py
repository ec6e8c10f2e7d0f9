"""Mutated `concept.toml` files through `tune --check`: ready, or one line and exit 2.

Two thousand of them in the slow suite, a share in the fast one, the same by seed.
"""

import json
import random
from pathlib import Path

import pytest

from mos_client.cli import app
from tests.fuzz.concept_files import mutated
from tests.support.bases import save_tiny_sd
from tests.support.pictures import save_pictures
from tests.support.typing_in import type_in

SHARE, WHOLE = 100, 2_000


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("base")))


def attack(
    folder: Path, base: str, capsys: pytest.CaptureFixture[str], seed: int, count: int
) -> dict[int, int]:
    """How often each exit code came."""
    data = save_pictures(folder / "rex", count=1)
    words = ("tune", "--data", data, "--out", folder / "rex.safetensors")
    source, codes = random.Random(seed), {0: 0, 2: 0}
    for number in range(count):
        content = mutated(source)
        (data / "concept.toml").write_bytes(content)
        code = type_in(
            app,
            *words,
            "--base",
            base,
            "--check",
            "--json",
            "--class-word",
            "dog",
            "--force",
        )
        shown = capsys.readouterr()
        case = (number, content[:200], shown.err[-500:])
        assert code in codes, case
        assert "Traceback" not in shown.err, case
        assert "\x1b" not in shown.err, case
        if shown.out:
            assert json.loads(shown.out)["ready"] is (code == 0), case
        else:
            assert code == 2, case
            assert len(shown.err) < 2000, case
        codes[code] += 1
    return codes


def test_mutated_concept_files_are_read_or_refused(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert all(attack(tmp_path, base, capsys, 21, SHARE).values())


@pytest.mark.slow
def test_two_thousand_mutated_concept_files_are_read_or_refused(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = attack(tmp_path, base, capsys, 22, WHOLE)
    assert codes[2] > WHOLE // 2, codes
    print(codes)
