"""Devices and precisions: what is picked, what is refused."""

import pytest
import torch

from mos_model.devices import autocast, pick_device, pick_dtype
from mos_model.errors import DeviceError

CPU = torch.device("cpu")


def only_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_auto_takes_the_best_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    only_the_processor(monkeypatch)
    assert pick_device("auto") == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_absent_device_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only_the_processor(monkeypatch)
    with pytest.raises(DeviceError, match=r"is not here: .* sees cpu"):
        pick_device(name)


def test_gpu_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("cuda:0").index == 0
    with pytest.raises(DeviceError, match="is not here"):
        pick_device("cuda:1")


@pytest.mark.parametrize("name", ["gpu", "meta", ""])
def test_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match="give one of auto, cpu"):
        pick_device(name)


def test_precision_on_a_processor() -> None:
    assert pick_dtype("auto", CPU) == torch.float32
    assert pick_dtype("bfloat16", CPU) == torch.bfloat16
    with pytest.raises(DeviceError, match="float16"):
        pick_dtype("float16", CPU)
    with pytest.raises(DeviceError, match="give one of"):
        pick_dtype("int8", CPU)


def test_autocast_leaves_float32_alone() -> None:
    ones = torch.ones(2, 2)
    with autocast(CPU, torch.float32):
        assert (ones @ ones).dtype == torch.float32
    with autocast(CPU, torch.bfloat16):
        assert (ones @ ones).dtype == torch.bfloat16
