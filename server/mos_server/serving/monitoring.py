"""`/healthz` and `/metrics` on loopback, for those who watch many machines.

`/healthz` says 200 `ok` while sites can be talked to, else 503 and why not; `/metrics`
is in Prometheus' text format, version 0.0.4.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from mos_runtime.errors import MosError
from mos_server.errors import ServingError

GetStatus = Callable[[], dict[str, Any]]
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


def metrics(status: dict[str, Any]) -> str:
    """A status (`centre_status`) in Prometheus' text format."""
    admitted = [site for site in status["sites"] if not site["revoked"]]
    release = status["release"] or {}
    gauges = {
        "mos_up": (status["healthy"], "Whether sites can be talked to."),
        "mos_sites_admitted": (len(admitted), "Sites that may send."),
        "mos_sites_connected": (
            sum(site["connected"] for site in admitted),
            "Sites that are here.",
        ),
        "mos_concepts": (len(status["concepts"]), "Concepts that are fused."),
        "mos_bundles_refused": (status["refused"], "Bundles refused, ever."),
        "mos_release_version": (release.get("version", 0), "The newest release."),
        "mos_release_bytes": (release.get("bytes", 0), "Size of its payload."),
        "mos_release_expires_timestamp_seconds": (
            release.get("expires", 0),
            "When it ends.",
        ),
        "mos_release_due": (status["due"], "Whether a newer one is to be made."),
        "mos_fusing_share": (
            -1 if status["fusing"] is None else status["fusing"],
            "How far the fusion is; -1 for none.",
        ),
        "mos_certificate_expires_timestamp_seconds": (
            status["certificate_expires"] or 0,
            "When the server's certificate ends; 0 without TLS.",
        ),
    }
    lines = []
    for name, (value, meaning) in gauges.items():
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
        lines.append(f"{name} {float(value):.10g}")
    lines += ["# HELP mos_events_total Events since the centre began to serve."]
    lines += ["# TYPE mos_events_total counter"]
    counts = sorted(status["counts"].items())
    lines += [f'mos_events_total{{event="{kind}"}} {number}' for kind, number in counts]
    return "\n".join(lines) + "\n"


@contextmanager
def monitored(port: int, get_status: GetStatus) -> Iterator[int]:
    """Within it, both pages are served on 127.0.0.1; the port.

    Args:
        port: TCP port; 0 for any.
        get_status: `centre_status` at that moment; called by other threads.

    Raises:
        ServingError: the port is taken.
    """
    handler = type("Handler", (_Handler,), {"get_status": staticmethod(get_status)})
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise ServingError(
            f"--metrics-port {port}: {error.strerror}; choose another"
        ) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    get_status: GetStatus

    def do_GET(self) -> None:
        """Answer one request."""
        try:
            status = self.get_status()
        except MosError as error:
            self._answer(503, f"{error}\n")
            return
        if self.path == "/metrics":
            self._answer(200, metrics(status))
        elif self.path == "/healthz":
            healthy = status["healthy"]
            why = "the federation is being started anew\n"
            self._answer(200 if healthy else 503, "ok\n" if healthy else why)
        else:
            self._answer(404, "there are /healthz and /metrics\n")

    def _answer(self, code: int, text: str) -> None:
        content = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", _TEXT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the centre's."""
