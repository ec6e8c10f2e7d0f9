"""Checkpoints: the newest whole one counts, and a broken one is told of."""

from pathlib import Path

import pytest
import torch

from mos_zoo.training.checkpoint import Checkpoint, newest_checkpoint, save_checkpoint


def save(folder: Path, step: int) -> Path:
    tensors = {"parameters": torch.full((3,), float(step))}
    return save_checkpoint(folder, Checkpoint(step, {"of": "a test"}, tensors))


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    save(tmp_path, 7)
    found = newest_checkpoint(tmp_path, pytest.fail)
    assert found is not None
    assert (found.step, found.facts) == (7, {"of": "a test"})
    assert torch.equal(found.tensors["parameters"], torch.full((3,), 7.0))


@pytest.mark.parametrize(
    "broken_bytes", [lambda b: b[:-1], lambda b: b"", lambda b: b[:40] + b"x" + b[41:]]
)
def test_broken_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, broken_bytes: object
) -> None:
    assert callable(broken_bytes)
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    newest.write_bytes(broken_bytes(newest.read_bytes()))
    said: list[str] = []
    found = newest_checkpoint(tmp_path, said.append)
    assert found is not None
    assert found.step == 1
    (line,) = said
    assert newest.name in line
    assert "going back to the one before" in line


def test_without_a_whole_checkpoint_there_is_none(tmp_path: Path) -> None:
    save(tmp_path, 1).write_bytes(b"broken")
    said: list[str] = []
    assert newest_checkpoint(tmp_path, said.append) is None
    assert len(said) == 1
    assert newest_checkpoint(tmp_path / "nowhere", pytest.fail) is None


def test_only_the_newest_two_are_kept(tmp_path: Path) -> None:
    paths = [save(tmp_path, step) for step in (1, 2, 3)]
    assert [path.exists() for path in paths] == [False, True, True]
