"""Fusion in a process of its own: the conversation with the sites goes on meanwhile.

The worker reads the registry, publishes into it, and writes progress to the journal;
should it crash or run out of memory, the centre is still there and tries again.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from mos_runtime.journal import Journal
from mos_runtime.processes import end_with_parent, trim_log
from mos_server.federation import events
from mos_server.registry.home import HOME_VARIABLE, CentreHome

_USAGE: Final = (
    "usage: python -m mos_server.federation.fusion_worker BASE JOURNAL DEVICE GATE"
)
GATE_ON: Final = "on"
GATE_OFF: Final = "off"
_FAILURE_FILE: Final = "fusion-failure.txt"
_LOG_FILE: Final = "fusion.log"
_KILLED: Final = -9


class FusionWorker:
    """A `Fuser` that starts one worker process at a time."""

    def __init__(
        self,
        home: CentreHome,
        base: str,
        journal: Path,
        device: str = "auto",
        *,
        gate: bool = True,
    ) -> None:
        """Nothing is started yet.

        Args:
            home: The centre's.
            base: The base's name.
            journal: Where the worker writes its progress.
            device: As `mos_model.devices.pick_device` takes it.
            gate: Whether a release is measured before it is published.
        """
        self.base, self._gate = base, GATE_ON if gate else GATE_OFF
        self._home, self._journal, self._device = home, journal, device
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to fuse and publish what the registry holds."""
        self._failure_path.unlink(missing_ok=True)
        self._home.flower.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mos_server.federation.fusion_worker"]
        log_path = self._home.flower / _LOG_FILE
        trim_log(log_path)
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, self.base, str(self._journal), self._device, self._gate],
                env={**os.environ, HOME_VARIABLE: str(self._home.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,
            )

    def running(self) -> bool:
        """Whether the worker is at it."""
        return self._process is not None and self._process.poll() is None

    def failure(self) -> str:
        """Why the last attempt failed; "" where it did not."""
        code = None if self._process is None else self._process.poll()
        if not code:
            return ""
        try:
            return self._failure_path.read_text("utf-8")
        except OSError:
            hint = " (out of memory?)" if code == _KILLED else ""
            return f"the fusion process ended with code {code}{hint}"

    def stop(self) -> None:
        """End the worker, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    @property
    def _failure_path(self) -> Path:
        return self._home.flower / _FAILURE_FILE


def _work(base_name: str, journal_path: Path, device: str, gate: str) -> None:
    from mos_model.bases.base import load_base
    from mos_model.devices import pick_device
    from mos_server.federation.publishing import publish
    from mos_server.fusion.gate import GateLimits
    from mos_server.registry.registry import Registry

    home, journal = CentreHome.open(), Journal(journal_path)

    def tell(what: str, share: float) -> None:
        journal.write(events.Fusing(what=what, share=round(share, 3)))

    base = load_base(base_name, device=pick_device(device))
    limits = None if gate == GATE_OFF else GateLimits.for_base(base)
    publish(home, Registry(home), base, gate=limits, on_progress=tell)


def main() -> None:
    """The worker's own entry."""
    from mos_runtime.errors import MosError
    from mos_runtime.files import write_atomically

    if len(sys.argv) != 5:
        sys.exit(_USAGE)
    try:
        _work(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4])
    except MosError as error:
        home = CentreHome.open()
        write_atomically(home.flower / _FAILURE_FILE, str(error).encode())
        sys.exit(str(error))


if __name__ == "__main__":
    main()
