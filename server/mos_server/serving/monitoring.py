"""`/healthz` and `/metrics` on loopback, for those who watch many machines.

`/healthz` says 200 `ok` while sites can be talked to, else 503 and why not; `/metrics`
is in Prometheus' text format.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Metric,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from mos_runtime.errors import MosError
from mos_server.errors import ServingError

GetStatus = Callable[[], dict[str, Any]]


class StatusCollector(Collector):
    """A status (`centre_status`) as Prometheus' metrics."""

    def __init__(self, status: dict[str, Any]) -> None:
        """Take the status."""
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Every gauge, and the count of events by kind."""
        status = self._status
        admitted = [site for site in status["sites"] if not site["revoked"]]
        release = status["release"] or {}
        fusing = -1 if status["fusing"] is None else status["fusing"]
        for name, meaning, value in (
            ("up", "Whether sites can be talked to.", status["healthy"]),
            ("sites_admitted", "Sites that may send.", len(admitted)),
            (
                "sites_connected",
                "Sites that are here.",
                sum(site["connected"] for site in admitted),
            ),
            ("concepts", "Concepts that are fused.", len(status["concepts"])),
            ("bundles_refused", "Bundles refused, ever.", status["refused"]),
            ("release_version", "The newest release.", release.get("version", 0)),
            ("release_bytes", "Size of its payload.", release.get("bytes", 0)),
            (
                "release_expires_timestamp_seconds",
                "When it ends.",
                release.get("expires", 0),
            ),
            ("release_due", "Whether a newer one is to be made.", status["due"]),
            ("fusing_share", "How far the fusion is; -1 for none.", fusing),
            (
                "certificate_expires_timestamp_seconds",
                "When the server's certificate ends; 0 without TLS.",
                status["certificate_expires"] or 0,
            ),
        ):
            yield GaugeMetricFamily(f"mos_{name}", meaning, value=float(value))
        events = CounterMetricFamily(
            "mos_events", "Events since the centre began to serve.", labels=["event"]
        )
        for kind, number in sorted(status["counts"].items()):
            events.add_metric([kind], number)
        yield events


def metrics(status: dict[str, Any]) -> str:
    """A status in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(StatusCollector(status))
    return generate_latest(registry).decode()


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
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the centre's."""
