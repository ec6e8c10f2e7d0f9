"""A tuning run on disk: one safetensors file, written whole, read without pickle.

It holds the parameters, the optimiser's moments and the step. Randomness is drawn anew
from (seed, step) at every step, so nothing else is needed to go on bit by bit alike.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from mos_model.errors import TensorFileError, TuningError
from mos_model.tensor_files import header_of
from mos_runtime.files import read_whole, write_atomically

FILE: Final = "checkpoint.safetensors"
_FORMAT: Final = "mos-tuning/1"


@dataclass(frozen=True)
class RunIdentity:
    """What must be equal for a run to be resumed."""

    base: str
    name: str
    class_word: str
    settings: Mapping[str, Any]
    data: str
    """`TrainingSet.digest`."""


def save_checkpoint(
    folder: Path,
    identity: RunIdentity,
    step: int,
    parameters: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write the run's state after `step` steps.

    Raises:
        StorageError: the disk is full or the folder read-only; the older one stays.
    """
    tensors = {f"parameter.{n}": p.detach().cpu() for n, p in parameters.items()}
    for name, parameter in parameters.items():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{key}.{name}"] = torch.as_tensor(value).cpu()
    facts = {"format": _FORMAT, "step": step, "run": vars(identity)}
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    content = save(contiguous, metadata={"mos": json.dumps(facts, sort_keys=True)})
    write_atomically(folder / FILE, content)


def load_checkpoint(
    folder: Path,
    identity: RunIdentity,
    parameters: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
) -> int:
    """Take up a run's state; its step, or 0 where there is no checkpoint.

    Raises:
        TuningError: the checkpoint is broken, or of another run; it says of which.
    """
    path = folder / FILE
    if not path.exists():
        return 0
    content = read_whole(path, what="a checkpoint")
    try:
        facts = json.loads(header_of(content).metadata["mos"])
        tensors = load(content)
    except (TensorFileError, SafetensorError, ValueError, KeyError) as error:
        raise TuningError(
            f"{path}: the checkpoint is broken ({error}); remove it to start anew"
        ) from error
    _check_same(path, facts["run"], vars(identity))
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"parameter.{name}"])
    names = {parameter: name for name, parameter in parameters.items()}
    order = [p for group in optimiser.param_groups for p in group["params"]]
    moments: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, kind, name = key.split(".", 2)
            moments.setdefault(name, {})[kind] = value
    state = optimiser.state_dict()
    state["state"] = {index: moments.get(names[p], {}) for index, p in enumerate(order)}
    optimiser.load_state_dict(state)  # it puts them on the parameters' device
    return int(facts["step"])


def _check_same(path: Path, found: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    for key, value in own.items():
        if found.get(key) != value:
            raise TuningError(
                f"{path}: made with another {key}; resume with what it was started "
                "with, or leave out --resume to start anew"
            )
