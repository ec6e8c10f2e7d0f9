"""Training: stopped, killed or short of disk, it goes on to the same result."""

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mos_model.errors import ZooError
from mos_runtime.errors import StorageError
from mos_zoo.training.checkpoint import newest_checkpoint
from mos_zoo.training.journal import Journal
from mos_zoo.training.loop import Recipe, Span, train, trained

STEPS = 6
CPU = torch.device("cpu")


@dataclass
class Parabola:
    """A stage of two small matrices that learns to halve its input."""

    at_step: Callable[[int], object] = lambda step: None
    width: int = 20
    name: str = "parabola"

    @property
    def recipe(self) -> Recipe:
        return Recipe(0.02, 8, warmup_steps=2, hold_steps=3, weight_decay=0.01)

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(self.width, 20), nn.Linear(20, self.width))

    def open(self, device: torch.device) -> None:
        self._device = device

    def loss(
        self, model: nn.Module, step: int, rng: np.random.Generator, samples: int
    ) -> dict[str, Tensor]:
        self.at_step(step)
        x = torch.from_numpy(rng.normal(size=(samples, self.width))).float()
        noisy = x + 0.1 * torch.randn_like(x)
        return {"loss": (model(noisy) - x / 2).square().mean()}

    def show(self, model: nn.Module, folder: Path) -> dict[str, float]:
        return {}


def steps(count: int, *, save_every: float = 1e9) -> Span:
    return Span(1e9, save_every=save_every, show_every=1e9, max_steps=count)


def run(stage: Parabola, state: Path, span: Span) -> int:
    return train(stage, state, span, workers=1, device=CPU)


def saved(state: Path) -> dict[str, Tensor]:
    found = newest_checkpoint(state / "parabola", pytest.fail)
    assert found is not None
    return {"step": torch.tensor(found.step), **found.tensors}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.fixture
def uninterrupted(tmp_path: Path) -> dict[str, Tensor]:
    run(Parabola(), tmp_path / "whole", steps(STEPS))
    return saved(tmp_path / "whole")


def test_training_in_parts_ends_bit_equal(
    tmp_path: Path, uninterrupted: dict[str, Tensor]
) -> None:
    for _ in range(3):
        run(Parabola(), tmp_path, steps(STEPS // 3))
    assert_same(saved(tmp_path), uninterrupted)


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_stopped_training_leaves_a_checkpoint_and_resumes_bit_equal(
    tmp_path: Path, uninterrupted: dict[str, Tensor], name: signal.Signals
) -> None:
    def stop(step: int) -> None:
        if step == 3:
            os.kill(os.getpid(), name)

    handler = signal.getsignal(name)
    assert run(Parabola(stop), tmp_path, steps(STEPS)) == 4
    assert signal.getsignal(name) is handler
    assert run(Parabola(), tmp_path, steps(STEPS - 4)) == STEPS
    assert_same(saved(tmp_path), uninterrupted)


def test_killed_training_resumes_from_its_last_checkpoint_bit_equal(
    tmp_path: Path, uninterrupted: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    class KilledError(Exception):
        pass

    def die(step: int) -> None:
        if step == 4:
            raise KilledError

    with pytest.raises(KilledError):
        run(Parabola(die), tmp_path, steps(STEPS, save_every=0.0))
    assert int(saved(tmp_path)["step"]) == 4
    capsys.readouterr()
    run(Parabola(), tmp_path, steps(STEPS - 4))
    assert "parabola: going on from step 4" in capsys.readouterr().out
    assert_same(saved(tmp_path), uninterrupted)


def test_broken_checkpoint_costs_the_steps_since_the_one_before(
    tmp_path: Path, uninterrupted: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    run(Parabola(), tmp_path, steps(3))
    run(Parabola(), tmp_path, steps(1))
    newest = max((tmp_path / "parabola").glob("*.ckpt"))
    newest.write_bytes(newest.read_bytes()[:100])
    run(Parabola(), tmp_path, steps(3))
    said = capsys.readouterr().out
    assert f"{newest.name}: broken" in said
    assert "going on from step 3" in said
    assert_same(saved(tmp_path), uninterrupted)


class Disk:
    """Makes every flush to the disk fail while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        flush = os.fsync

        def fsync(handle: int) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            flush(handle)

        monkeypatch.setattr(os, "fsync", fsync)


def test_full_disk_costs_a_warning_and_not_the_run(
    tmp_path: Path,
    uninterrupted: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    disk = Disk(monkeypatch)

    def fill_for_a_while(step: int) -> None:
        disk.full = 2 <= step < 4

    run(Parabola(fill_for_a_while), tmp_path, steps(STEPS, save_every=0.0))
    said = capsys.readouterr().out
    assert said.count("No space left on device; training goes on") == 2
    assert_same(saved(tmp_path), uninterrupted)


def test_disk_full_at_the_end_is_told_and_the_older_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(Parabola(), tmp_path, steps(2))
    before = saved(tmp_path)
    disk = Disk(monkeypatch)
    disk.full = True
    with pytest.raises(StorageError, match="No space left on device"):
        run(Parabola(), tmp_path, steps(2))
    disk.full = False
    assert_same(saved(tmp_path), before)
    assert [path.suffix for path in (tmp_path / "parabola").iterdir()] == [".ckpt"]


def test_training_learns_and_gives_its_average(tmp_path: Path) -> None:
    run(Parabola(), tmp_path, steps(60))
    model = trained(Parabola(), tmp_path, Journal())
    x = torch.randn(64, 20, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        untrained = (Parabola().build()(x) - x / 2).square().mean()
        error = (model(x) - x / 2).square().mean()
    assert error < untrained / 3


def test_finishing_leaves_the_ordinary_state_alone(tmp_path: Path) -> None:
    run(Parabola(), tmp_path, steps(3))
    before = saved(tmp_path)
    finish = Span(1e9, finish=True, show_every=1e9, max_steps=2)
    assert run(Parabola(), tmp_path, finish) == 5
    assert_same(saved(tmp_path), before)
    assert newest_checkpoint(tmp_path / "parabola-finish", pytest.fail) is not None


def test_nothing_to_finish_is_told(tmp_path: Path) -> None:
    finish = Span(1e9, finish=True, max_steps=2)
    with pytest.raises(ZooError, match="nothing to finish; train it first"):
        run(Parabola(), tmp_path, finish)


def test_untrained_stage_is_told(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"no trained 'parabola'.*zoo\.train parabola"):
        trained(Parabola(), tmp_path, Journal())


def test_checkpoint_of_another_model_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(Parabola(), tmp_path, steps(2))
    with pytest.raises(ZooError, match="no trained"):
        trained(Parabola(width=24), tmp_path, Journal())
    run(Parabola(width=24), tmp_path, steps(1))
    assert "of another model; starting anew" in capsys.readouterr().out
    # The other model's checkpoint is of a later step, and counts no more.
    run(Parabola(width=24), tmp_path, steps(1))
    assert "going on from step 1" in capsys.readouterr().out
    trained(Parabola(width=24), tmp_path, Journal())


def test_a_finish_of_another_model_does_not_hide_the_model(tmp_path: Path) -> None:
    run(Parabola(width=24), tmp_path, steps(3))
    finish = Span(1e9, finish=True, show_every=1e9, max_steps=2)
    run(Parabola(width=24), tmp_path, finish)
    run(Parabola(), tmp_path, steps(1))
    trained(Parabola(), tmp_path, Journal())
