"""Several processes make the steps of one: real ones, started by `torchrun`."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mos_client.tuning.runtime.processes import Processes
from mos_model.concepts.concept import Concept
from mos_model.errors import TuningError
from tests.support.bases import save_tiny_sd
from tests.support.pictures import save_pictures

STEPS = 3


def tuned(out: Path, base: Path, data: Path, *, processes: int, accumulate: int) -> str:
    """Tune by so many processes; what they said."""
    launch = ["-m", "torch.distributed.run", "--standalone"]
    launch += ["--nproc_per_node", str(processes)]
    start = [*launch, "-m", "mos_client"] if processes > 1 else ["-m", "mos_client"]
    words = ["tune", "--data", data, "--base", base, "--out", out, "--concept", "rex"]
    words += ["--class-word", "cat", "--steps", STEPS, "--no-share", "--device", "cpu"]
    words += ["--skip-privacy-check", "--set", f"accumulate={accumulate}"]
    done = subprocess.run(
        [sys.executable, *start, *map(str, words)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_two_processes_make_the_steps_of_one(tmp_path: Path) -> None:
    base = save_tiny_sd(tmp_path / "base")
    data = save_pictures(tmp_path / "pictures", side=16)
    alone, shared = tmp_path / "alone.safetensors", tmp_path / "shared.safetensors"
    tuned(alone, base, data, processes=1, accumulate=2)
    said = tuned(shared, base, data, processes=2, accumulate=1)
    assert said.count("use it as <rex>") == 1, "only the first one tells"
    own, other = (Concept.from_bytes(p.read_bytes()) for p in (alone, shared))
    for module, factors in own.lora.items():
        # a + b is b + a to the bit, so nothing is lost on the way.
        assert torch.equal(other.lora[module].up, factors.up), module
        assert torch.equal(other.lora[module].down, factors.down), module
    for encoder, words in own.embeddings.items():
        assert torch.equal(other.embeddings[encoder], words)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("base", "pictures", alone.name, shared.name)
    }


@pytest.mark.parametrize(("total", "count"), [(1, 1), (4, 2), (5, 3)])
def test_every_pass_falls_to_one_process(total: int, count: int) -> None:
    dealt = [p for rank in range(count) for p in Processes(rank, count).passes(total)]
    assert sorted(dealt) == list(range(total))


def test_fewer_passes_than_processes_are_refused() -> None:
    with pytest.raises(TuningError, match="set accumulate to 3 or more"):
        Processes(0, 3).passes(2)
