"""Flower's SuperLink as a process of ours, and Flower's own commands against it."""

import json
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from mos_runtime.files import write_atomically
from mos_runtime.flower_env import flower_environment, flower_program, free_port
from mos_runtime.processes import Family, Stopping
from mos_server.errors import ServingError
from mos_server.serving.tls import Certificates

FLOWER_APP: Final = Path(str(files(__package__) / "flower-app"))
"""The app that a centre submits; it holds no code."""

SUPERLINK_LOG: Final = "superlink.log"
CONNECTION: Final = "centre"
"""What Flower's configuration calls it."""

_PROGRAM: Final = (sys.executable, "-m", f"{__package__}.superlink_process")
_LOOK_EVERY_SECONDS: Final = 0.3
_START_SECONDS: Final = 90.0
"""Without an answer and without any computing, after which it is taken for dead."""

_LEAST_COMPUTING_SECONDS: Final = 0.05
_COMMAND_SECONDS: Final = 60.0
_SUBMIT_SECONDS: Final = 600.0
"""Given up and tried again, one run would be there twice; so slow machines get time."""


class SuperLink:
    """One running SuperLink, and Flower's own command line to talk to it."""

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str],
        *,
        certificates: Certificates | None,
        **environment: str,
    ) -> None:
        """Start it; `wait_until_ready` must follow.

        Args:
            folder: Flower's home, where its log goes too.
            arguments: Further arguments of `flower-superlink`.
            certificates: For TLS on all its ports; none without.
            environment: Further variables for it and all that it starts.
        """
        self._port = free_port()
        # At its usual level it notes every poll of every node, some 40 MB a day.
        environment = {"FLWR_LOG_LEVEL": "WARNING", **environment}
        self._env = flower_environment(folder, **environment)
        self._certificates = certificates
        self._log = folder / SUPERLINK_LOG
        self._write_connection(folder)
        command = [*_PROGRAM, *arguments]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--disable-runtime-dependency-installation"]
        if certificates is None:
            command += ["--insecure"]
        else:
            command += ["--ssl-ca-certfile", str(certificates.ca.resolve())]
            command += ["--ssl-certfile", str(certificates.certificate.resolve())]
            command += ["--ssl-keyfile", str(certificates.key.resolve())]
        self.family = Family(command, env=self._env, log=self._log)

    def _write_connection(self, folder: Path) -> None:
        lines = [
            "[superlink]",
            f'default = "{CONNECTION}"',
            f"[superlink.{CONNECTION}]",
            f'address = "127.0.0.1:{self._port}"',
        ]
        if self._certificates is None:
            lines.append("insecure = true")
        else:
            ca = json.dumps(str(self._certificates.ca.resolve()))
            lines.append(f"root-certificates = {ca}")
        write_atomically(folder / "config.toml", ("\n".join(lines) + "\n").encode())

    def wait_until_ready(self, stopping: Stopping) -> None:
        """Return once it answers, or once asked to stop.

        However slow the machine, it is waited for as long as it computes.

        Raises:
            ServingError: it ended, or stands still and does not answer.
        """
        scheme, context = "http", None
        if self._certificates is not None:
            scheme = "https"
            context = ssl.create_default_context(cafile=str(self._certificates.ca))
        url = f"{scheme}://127.0.0.1:{self._port}/health"
        until, computed = time.monotonic() + _START_SECONDS, 0.0
        while not stopping.wait(_LOOK_EVERY_SECONDS):
            if self.family.exit_code() is not None:
                raise ServingError(
                    f"Flower's SuperLink ended at once: {self.last_words()}"
                )
            try:
                with urllib.request.urlopen(url, context=context, timeout=2):
                    return
            except OSError:
                pass
            now = self.family.cpu_seconds()
            if abs(now - computed) > _LEAST_COMPUTING_SECONDS:
                computed, until = now, time.monotonic() + _START_SECONDS
            if time.monotonic() > until:
                raise ServingError(
                    f"Flower's SuperLink does not answer; see {self._log}"
                )

    def flwr(
        self, *arguments: str, seconds: float = _COMMAND_SECONDS
    ) -> dict[str, Any]:
        """Run one of Flower's commands against it.

        Args:
            arguments: The command's.
            seconds: How long it may take.

        Returns:
            What the command told as JSON; {"success": False, ...} where it failed.
        """
        command = [flower_program("flwr"), *arguments, "--format", "json"]
        try:
            done = subprocess.run(
                command,
                env=self._env,
                capture_output=True,
                text=True,
                timeout=seconds,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"success": False, "error-message": "no answer in time"}
        first, last = done.stdout.find("{"), done.stdout.rfind("}")
        try:
            answer: dict[str, Any] = json.loads(done.stdout[first : last + 1])
        except ValueError:
            words = (done.stdout + done.stderr).strip().splitlines()
            return {"success": False, "error-message": words[-1] if words else ""}
        return answer

    def submit(self, app: Path, *options: str) -> str:
        """Submit an app; the run's id.

        Args:
            app: The app's folder.
            options: Further options of `flwr run`.

        Raises:
            ServingError: Flower did not take it.
        """
        words = ("run", str(app), CONNECTION, *options)
        answer = self.flwr(*words, seconds=_SUBMIT_SECONDS)
        if not answer.get("run-id"):
            raise ServingError(
                f"Flower took no run: {answer.get('error-message') or answer}"
            )
        return str(answer["run-id"])

    def status(self, run_id: str) -> str:
        """A run's status as Flower words it; "" where it cannot be told."""
        answer = self.flwr("list", CONNECTION, "--run-id", run_id)
        runs = answer.get("runs") or [{}]
        return str(runs[0].get("status", ""))

    def certificate_stamp(self) -> int:
        """Changes when the server's certificate on the disk does; 0 without one."""
        if self._certificates is None:
            return 0
        return self._certificates.certificate.stat().st_mtime_ns

    def last_words(self) -> str:
        """The last line of its log that says something."""
        try:
            lines = self._log.read_text("utf-8", "replace").splitlines()
        except OSError:
            return ""
        spoken = [line.strip() for line in lines if line.strip()]
        return spoken[-1] if spoken else ""
