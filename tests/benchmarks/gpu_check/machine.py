"""The device that is measured, and the time there is for it."""

import gc
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch

GIB: Final = 2**30


class OutOfTimeError(BaseException):
    """The time of a section is over. No `Exception`: libraries would swallow it."""


@dataclass(frozen=True)
class Machine:
    """Where everything is computed."""

    device: torch.device

    smoke: bool
    """Tiny shapes and few repetitions: whether it runs, not how fast."""

    @property
    def on_gpu(self) -> bool:
        """Whether times and memory mean anything."""
        return self.device.type == "cuda"

    @property
    def name(self) -> str:
        """The card's name, or `cpu`."""
        return torch.cuda.get_device_name(self.device) if self.on_gpu else "cpu"

    def wait(self) -> None:
        """Return once the device has done all that it was given."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def now(self) -> float:
        """Seconds of the clock, after `wait`."""
        self.wait()
        return time.perf_counter()

    def reset_peak(self) -> None:
        """Forget the most memory that was held so far."""
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> dict[str, float]:
        """The most memory held since `reset_peak`; nothing where it is not counted."""
        if not self.on_gpu:
            return {}
        return {
            "peak_gib": round(torch.cuda.max_memory_allocated(self.device) / GIB, 2)
        }

    def held(self) -> dict[str, float]:
        """The memory held now; nothing where it is not counted."""
        if not self.on_gpu:
            return {}
        return {"base_gib": round(torch.cuda.memory_allocated(self.device) / GIB, 2)}

    def free(self) -> None:
        """Give back what no variable holds any more."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()


class Budget:
    """The time of a whole run, dealt out to its sections."""

    def __init__(self, seconds: float) -> None:
        """It begins now."""
        self._start = time.perf_counter()
        self._seconds = seconds

    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._start

    def left(self) -> float:
        """Seconds to the end; below 0 after it."""
        return self._seconds - self.spent()

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Stop the work inside after so many seconds, or when the run's time is over.

        Raises:
            OutOfTimeError: it was stopped. Only the main thread can be; elsewhere the
                work runs to its end.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: object) -> None:
            raise OutOfTimeError

        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, max(0.01, min(seconds, self.left())))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
