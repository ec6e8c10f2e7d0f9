"""Muon for weight matrices, Adam for the rest, over flat buffers that processes share.

Every process computes gradients of its part of a batch; each then updates its share of
the parameters, which all of them see. Two processes of one thread each train small
models faster on two cores than one process of two threads.

Muon: orthogonalised momentum (K. Jordan et al., 2024), scaled to the update size of
Adam by 0.2 sqrt(max(rows, columns)) (J. Liu et al., arXiv:2502.16982).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

_MOMENTUM: Final = 0.95
_BETAS: Final = (0.9, 0.99)
_EPSILON: Final = 1e-8
_CLIP_NORM: Final = 1.0
_SMALLEST_MATRIX: Final = 16


@dataclass(frozen=True)
class Slot:
    """Where one parameter lies in the flat buffers."""

    name: str
    offset: int
    count: int
    shape: tuple[int, ...]
    is_matrix: bool
    """Updated by Muon, else by Adam."""

    def view(self, flat: Tensor) -> Tensor:
        """The parameter's part of a flat buffer; convolutions lie channels last."""
        part = flat[self.offset : self.offset + self.count]
        if len(self.shape) == 4:
            out, channels, height, width = self.shape
            return part.view(out, height, width, channels).permute(0, 3, 1, 2)
        return part.view(self.shape)


def layout(model: nn.Module, adam_names: Sequence[str] = ()) -> list[Slot]:
    """The slots of a model's parameters, matrices first.

    Args:
        model: Its parameters that require gradients are laid out.
        adam_names: Parts of names whose matrices Adam updates all the same, such as
            embeddings and first and last layers.
    """
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]

    def is_matrix(name: str, parameter: Tensor) -> bool:
        rows = parameter.shape[0] if parameter.dim() else 1
        columns = parameter.numel() // max(1, rows)
        return (
            parameter.dim() in (2, 4)
            and min(rows, columns) >= _SMALLEST_MATRIX
            and not any(part in name for part in adam_names)
        )

    slots, offset = [], 0
    for wanted in (True, False):
        for name, p in named:
            if is_matrix(name, p) == wanted:
                slots.append(Slot(name, offset, p.numel(), tuple(p.shape), wanted))
                offset += p.numel()
    return slots


@dataclass(frozen=True)
class Buffers:
    """All that training changes; in shared memory when several processes train."""

    parameters: Float[Tensor, " n"]
    average: Float[Tensor, " n"]
    """Exponential moving average of the parameters."""
    momentum: Float[Tensor, " matrices"]
    adam_first: Float[Tensor, " rest"]
    adam_second: Float[Tensor, " rest"]
    gradients: Float[Tensor, "processes n"]
    norms: Float[Tensor, " processes"]

    SAVED = ("parameters", "average", "momentum", "adam_first", "adam_second")

    @classmethod
    def for_slots(
        cls, slots: Sequence[Slot], processes: int, device: torch.device
    ) -> "Buffers":
        """Zeros of the right sizes."""
        total = sum(slot.count for slot in slots)
        matrices = sum(slot.count for slot in slots if slot.is_matrix)
        sizes = (total, total, matrices, total - matrices, total - matrices)
        tensors = [torch.zeros(size, device=device) for size in sizes]
        tensors.append(torch.zeros(processes, total, device=device))
        tensors.append(torch.zeros(processes, device=device))
        if processes > 1:
            for tensor in tensors:
                tensor.share_memory_()
        return cls(*tensors)


class SharedOptimizer:
    """One process's hand on the shared buffers."""

    def __init__(
        self,
        model: nn.Module,
        slots: Sequence[Slot],
        buffers: Buffers,
        rank: int,
        wait: Callable[[], object],
        *,
        weight_decay: float,
        take_values: bool,
    ) -> None:
        """Make the model's parameters views of the buffers.

        Args:
            model: The model `slots` were laid out for.
            slots: From `layout`.
            buffers: From `Buffers.for_slots`.
            rank: This process's number.
            wait: Returns when every process has called it.
            weight_decay: Of matrices, per unit of learning rate.
            take_values: Copy the model's values into the buffers (a fresh start),
                rather than the buffers' into the model.
        """
        self._buffers, self._rank, self._wait = buffers, rank, wait
        self._weight_decay = weight_decay
        self._slots = list(slots)
        parameters = dict(model.named_parameters())
        for slot in slots:
            parameter = parameters[slot.name]
            view = slot.view(buffers.parameters)
            if take_values:
                view.copy_(parameter.data)
            parameter.data = view
            parameter.grad = slot.view(buffers.gradients[rank])
        if take_values:
            buffers.average.copy_(buffers.parameters)
        processes = len(buffers.gradients)
        self._matrices = _share_of(slots, rank, processes)
        first, end = len(buffers.momentum), len(buffers.parameters)
        self._rest = _part(first, end, rank, processes)
        self._averaged = _part(0, end, rank, processes)

    def zero_gradients(self) -> None:
        """Before every backward pass."""
        self._buffers.gradients[self._rank].zero_()

    @torch.no_grad()
    def step(self, number: int, rate: float, decay: float) -> float:
        """Update this process's share; returns the gradient's norm before clipping.

        Args:
            number: Steps done before this one.
            rate: Learning rate.
            decay: Of the moving average.
        """
        buffers = self._buffers
        self._wait()
        mean = buffers.gradients[0]
        parts = [slice(s.offset, s.offset + s.count) for s in self._matrices]
        squares = 0.0
        for part in (*parts, self._rest):
            if len(buffers.gradients) > 1:
                mean[part] = buffers.gradients[:, part].mean(0)
            squares += float(mean[part].square().sum())
        buffers.norms[self._rank] = squares
        self._wait()
        norm: float = float(buffers.norms.sum()) ** 0.5
        scale = min(1.0, _CLIP_NORM / (norm + 1e-12))
        for slot in self._matrices:
            self._muon(slot, mean, scale, rate)
        self._adam(mean, scale, rate, number)
        self._wait()
        part = self._averaged
        buffers.average[part].lerp_(buffers.parameters[part], 1 - decay)
        return norm

    def _muon(self, slot: Slot, mean: Tensor, scale: float, rate: float) -> None:
        part = slice(slot.offset, slot.offset + slot.count)
        gradient = mean[part] * scale
        momentum = self._buffers.momentum[part]
        momentum.mul_(_MOMENTUM).add_(gradient)
        matrix = (gradient + _MOMENTUM * momentum).view(slot.shape[0], -1)
        update = orthogonalised(matrix).mul_(0.2 * max(matrix.shape) ** 0.5)
        parameter = self._buffers.parameters[part]
        parameter.mul_(1 - rate * self._weight_decay)
        parameter.sub_(update.reshape(-1), alpha=rate)

    def _adam(self, mean: Tensor, scale: float, rate: float, number: int) -> None:
        start = len(self._buffers.momentum)
        part = slice(self._rest.start - start, self._rest.stop - start)
        gradient = mean[self._rest] * scale
        first = self._buffers.adam_first[part]
        second = self._buffers.adam_second[part]
        first.lerp_(gradient, 1 - _BETAS[0])
        second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        bias = (1 - _BETAS[1] ** (number + 1)) ** 0.5
        size = rate * bias / (1 - _BETAS[0] ** (number + 1))
        self._buffers.parameters[self._rest].addcdiv_(
            first, second.sqrt().add_(_EPSILON * bias), value=-size
        )


def orthogonalised(
    matrix: Float[Tensor, "rows columns"], steps: int = 4
) -> Float[Tensor, "rows columns"]:
    """About U V^T of matrix = U S V^T, by Newton-Schulz steps in bfloat16."""
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        inner = torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        x = torch.addmm(x, inner, x, beta=3.4445)
    return (x.T if tall else x).float()


def _share_of(slots: Sequence[Slot], rank: int, processes: int) -> list[Slot]:
    """The matrices one process updates: heaviest first, to whoever has least."""

    def cost(slot: Slot) -> int:
        return slot.count * min(slot.shape[0], slot.count // slot.shape[0])

    load = [0] * processes
    mine = []
    for slot in sorted((s for s in slots if s.is_matrix), key=cost, reverse=True):
        owner = load.index(min(load))
        load[owner] += cost(slot)
        if owner == rank:
            mine.append(slot)
    return mine


def _part(first: int, end: int, rank: int, processes: int) -> slice:
    step = -(-(end - first) // processes)
    return slice(min(end, first + rank * step), min(end, first + (rank + 1) * step))
