"""What a tuning run shows while it goes: a progress line, TensorBoard."""

import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mos_client.errors import SiteError

if TYPE_CHECKING:
    from rich.progress import Progress

    from mos_client.tuning import TuneProgress

_MEBIBYTE: Final = 2**20


class TuneDisplay:
    """The progress line of one run, and its TensorBoard log where one is wanted."""

    def __init__(
        self, display: "Progress", name: str, steps: int, device: Any, log: Any = None
    ) -> None:
        """Add a line to a display.

        Args:
            display: A running `mos_runtime.console.progress()`.
            name: The concept's.
            steps: Of the whole run.
            device: Its torch device, whose memory counts.
            log: `tensorboard_log`'s writer, or None.
        """
        self._display, self._device, self._log = display, device, log
        self._task = display.add_task(f"tuning <{name}>", total=steps, note="")
        self._started: tuple[float, int] | None = None

    def phase(self, text: str) -> None:
        """Tell what is done before and after the steps."""
        self._display.update(self._task, note=text)

    def show(self, now: "TuneProgress") -> None:
        """Tell where the run stands: loss, steps a second, the most memory used."""
        told = time.monotonic()
        if self._started is None:
            # The first step also loads kernels and fills caches.
            self._started = (told, now.step)
        since, first = self._started
        speed = (now.step - first) / (told - since) if told > since else 0.0
        note = f"loss {now.loss:.4f}  {speed:.2f} steps/s  {peak_memory(self._device)}"
        self._display.update(self._task, completed=now.step, note=note)
        if self._log is not None:
            self._log.add_scalar("loss", now.loss, now.step)
            self._log.add_scalar("steps per second", speed, now.step)


def peak_memory(device: Any) -> str:
    """The most memory used so far: the GPU's, or what this process held at once."""
    if device.type == "cuda":
        import torch

        return f"{torch.cuda.max_memory_allocated(device) // _MEBIBYTE} MiB on the GPU"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux KiB.
    return f"{peak // (_MEBIBYTE if sys.platform == 'darwin' else 1024)} MiB"


def tensorboard_log(folder: Path) -> Any:
    """A TensorBoard writer into a folder.

    Raises:
        SiteError: the package is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SiteError(
            "--tensorboard: the package tensorboard is not installed; "
            "`pip install tensorboard`, or leave the option out"
        ) from error
    return SummaryWriter(str(folder))
