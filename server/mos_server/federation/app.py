"""The centre's end of the federation: Flower's ServerApp.

One run lasts as long as the centre serves. Flower's own state may vanish at any
time: what counts is in the registry, and a new run goes on from there.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from mos_model.bases.base_files import read_inventory
from mos_runtime.journal import Journal
from mos_runtime.processes import end_with_parent
from mos_server.federation import events
from mos_server.federation.carrier import Carrier, ConversationSettings
from mos_server.federation.conversation import Conversation
from mos_server.federation.desk import Desk
from mos_server.federation.flower_carrier import FlowerCarrier
from mos_server.federation.fusion_worker import FusionWorker
from mos_server.federation.names import ALIVE_FILE, JOURNAL_FILE
from mos_server.registry.home import CentreHome
from mos_server.registry.registry import Registry

_LOOK_EVERY_SECONDS: Final = 0.3
_TOUCH_EVERY_SECONDS: Final = 5.0


def main(grid: Grid, context: Context) -> None:
    """Serve until Flower stops the run."""
    end_with_parent()
    with crashes_noted(CentreHome.open().flower / JOURNAL_FILE):
        _serve(FlowerCarrier(grid, context.run_id), context.run_config)


@contextmanager
def crashes_noted(journal: Path) -> Iterator[None]:
    """Write an exception into the journal: Flower keeps what a ServerApp prints."""
    try:
        yield
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        Journal(journal).write(events.Crashed(reason))
        raise


def _serve(carrier: Carrier, run: Mapping[str, Any]) -> None:
    home = CentreHome.open()
    settings = ConversationSettings(
        wait_seconds=float(run["wait-seconds"]),
        settle_seconds=float(run["settle-seconds"]),
        longest_settle_seconds=float(run["longest-settle-seconds"]),
        bind_nodes=bool(run["node-auth"]),
    )
    journal_path = home.flower / JOURNAL_FILE
    worker = FusionWorker(
        home,
        str(run["base"]),
        journal_path,
        str(run["device"]),
        gate=bool(run["gate"]),
    )
    converse(carrier, home, worker, settings, journal_path)


def converse(
    carrier: Carrier,
    home: CentreHome,
    worker: FusionWorker,
    settings: ConversationSettings,
    journal_path: Path,
) -> None:
    """Talk to the sites until the conversation is finished.

    Args:
        carrier: Carries messages.
        home: The centre's.
        worker: Where fusion runs.
        settings: Of the conversation.
        journal_path: Where the centre says what happens.
    """
    registry, journal = Registry(home), Journal(journal_path)
    desk = Desk(registry, read_inventory(worker.base))
    conversation = Conversation(registry, desk, carrier, worker, settings, journal)
    home.flower.mkdir(parents=True, exist_ok=True)
    journal.write(events.Serving())
    touched_at = float("-inf")
    try:
        while not conversation.finished:
            conversation.step()
            if time.monotonic() - touched_at >= _TOUCH_EVERY_SECONDS:
                touched_at = time.monotonic()
                (home.flower / ALIVE_FILE).write_text(str(os.getpid()))
            time.sleep(_LOOK_EVERY_SECONDS)
    finally:
        worker.stop()
    journal.write(events.Finished())


app = ServerApp()
app.main()(main)
