"""Where a model computes, and in which numbers: the one place that decides.

Frozen weights are loaded in the precision's dtype; whatever is trained stays float32
and meets them under `autocast`, so that small steps are not rounded away.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

import torch

from mos_model.errors import DeviceError

DEVICES: Final = ("auto", "cpu", "cuda", "mps")
PRECISIONS: Final = ("auto", "float32", "bfloat16", "float16")


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`; `auto` is CUDA, then MPS, then the processor.

    Args:
        name: One of `DEVICES`, or a numbered one such as `cuda:1`.

    Raises:
        DeviceError: no such device is here; it says which are.
    """
    if name == "auto":
        return torch.device(_present()[-1])
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(
            f"device {name!r}: give one of {', '.join(DEVICES)}"
        ) from error
    if device.type not in DEVICES:
        raise DeviceError(f"device {name!r}: give one of {', '.join(DEVICES)}")
    if device.type not in _present() or not _has(device):
        raise DeviceError(
            f"device {name!r} is not here: this torch {torch.__version__} sees "
            f"{', '.join(_present())}. Pass --device auto, or install a torch built "
            "for it"
        )
    return device


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype called `precision`; `auto` is bfloat16 where CUDA has it, else float32.

    bfloat16 has float32's range, so that no loss needs scaling.

    Raises:
        DeviceError: no such precision, or none that this device computes in.
    """
    if precision not in PRECISIONS:
        raise DeviceError(
            f"precision {precision!r}: give one of {', '.join(PRECISIONS)}"
        )
    if precision == "auto":
        able = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if able else torch.float32
    if precision == "float16" and device.type == "cpu":
        raise DeviceError(
            "precision 'float16': processors compute in it poorly; pass float32 or "
            "bfloat16"
        )
    dtype: torch.dtype = getattr(torch, precision)
    return dtype


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Let float32 parameters compute in `dtype`; nothing where it is float32."""
    if dtype == torch.float32:
        return nullcontext()
    context: AbstractContextManager[None] = torch.autocast(device.type, dtype=dtype)
    return context


def _present() -> tuple[str, ...]:
    """Device types of this machine, the best last."""
    found = ["cpu"]
    if torch.backends.mps.is_available():
        found.append("mps")
    if torch.cuda.is_available():
        found.append("cuda")
    return tuple(found)


def _has(device: torch.device) -> bool:
    return device.type != "cuda" or (device.index or 0) < torch.cuda.device_count()
