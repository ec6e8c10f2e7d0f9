"""One tuning run by several processes, each with a GPU of its own.

`accelerate launch --multi_gpu -m mos_client tune ..` starts the processes, or torchrun
does; PyTorch's collectives carry what they share. A step's forward passes are dealt
out, and the gradients added up, so N processes that accumulate A passes each make the
very step that one process makes which accumulates N A. Everything random is drawn alike
by all of them.
"""

import atexit
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mos_model.devices import pick_device
from mos_model.errors import TuningError


@dataclass(frozen=True)
class Processes:
    """This process among those of its run."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this one tells, writes and signs."""
        return self.rank == 0

    def passes(self, total: int) -> Sequence[int]:
        """Numbers of the forward passes that fall to this process.

        Raises:
            TuningError: there are fewer passes than processes.
        """
        if total < self.count:
            raise TuningError(
                f"{total} forward passes a step for {self.count} processes; set "
                f"accumulate to {self.count} or more"
            )
        return range(self.rank, total, self.count)

    def add_up(
        self, parameters: Iterable[nn.Parameter], loss: torch.Tensor
    ) -> torch.Tensor:
        """Replace every process's gradients, and the loss, by the sum over all.

        All travel as one float32 vector.

        Args:
            parameters: In the same order everywhere; one without gradient counts as 0.
            loss: One number.

        Returns:
            The loss's sum.
        """
        if self.count == 1:
            return loss
        held = list(parameters)
        for parameter in held:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        parts = [parameter.grad for parameter in held if parameter.grad is not None]
        vector = torch.cat([loss.float().reshape(1), *(p.flatten() for p in parts)])
        torch.distributed.all_reduce(vector)
        sizes = [1, *(part.numel() for part in parts)]
        total, *sums = vector.split(sizes)
        for part, added in zip(parts, sums, strict=True):
            part.copy_(added.view_as(part))
        summed: torch.Tensor = total[0]
        return summed


def launched(device: str) -> tuple[Processes, torch.device]:
    """Who this process is, and where it computes.

    Args:
        device: As `mos_model.devices.pick_device` takes it; under `accelerate launch`
            `auto` and `cuda` are the process's own GPU.

    Raises:
        DeviceError: no such device is here.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes(), pick_device(device)
    from accelerate import PartialState

    chosen = pick_device(device)
    state = PartialState(cpu=chosen.type != "cuda")
    atexit.register(state.destroy_process_group)
    if chosen.type == "cuda" and chosen.index is None:
        chosen = pick_device(f"cuda:{state.local_process_index}")
    return Processes(state.process_index, state.num_processes), chosen
