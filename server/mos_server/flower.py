"""The centre's end of the federation: Flower's ServerApp.

One run lasts as long as the centre serves; in a simulation, until every site holds the
release of what all have brought. Flower's own state may vanish at any time: what counts
is in the registry, and a new run goes on from there.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from mos_protocol.journal import Journal
from mos_protocol.messages import TuneAsk
from mos_protocol.simulation_plan import SimulationPlan
from mos_server.conversation import Conversation
from mos_server.desk import Desk
from mos_server.federation import ConversationSettings
from mos_server.flower_carrier import FlowerCarrier
from mos_server.flower_names import ALIVE_FILE, CENTRE_FOLDER, JOURNAL_FILE
from mos_server.fusion_worker import FusionWorker
from mos_server.home import CentreHome
from mos_server.registry import Registry
from mos_shared.base_files import read_inventory

_LOOK_EVERY_SECONDS: Final = 0.3
_TOUCH_EVERY_SECONDS: Final = 5.0


def main(grid: Grid, context: Context) -> None:
    """Serve until Flower stops the run, or the simulation is done."""
    run = context.run_config
    simulation = str(run["simulation-dir"])
    folder = Path(simulation) if simulation else CentreHome.open().flower
    try:
        if simulation:
            _simulate(grid, folder)
        else:
            _serve(grid, run)
    except Exception as error:
        # Flower keeps what a ServerApp prints to itself.
        journal = Journal(folder / JOURNAL_FILE)
        journal.write("crashed", reason=f"{type(error).__name__}: {error}")
        raise


def _serve(grid: Grid, run: Mapping[str, Any]) -> None:
    home = CentreHome.open()
    settings = ConversationSettings(
        wait_seconds=float(run["wait-seconds"]),
        settle_seconds=float(run["settle-seconds"]),
        bind_nodes=bool(run["node-auth"]),
    )
    journal_path = home.flower / JOURNAL_FILE
    worker = FusionWorker(home, str(run["base"]), journal_path, str(run["device"]))
    _converse(grid, home, worker, settings, journal_path)


def _simulate(grid: Grid, folder: Path) -> None:
    plan = SimulationPlan.read(folder)
    settings = ConversationSettings(
        wait_seconds=0.0,
        settle_seconds=0.0,
        rest_seconds=0.5,
        bind_nodes=False,
        tune=None if plan.synthetic else TuneAsk(plan.steps or 0, plan.seed),
        sites=len(plan.sites),
    )
    home = CentreHome.open(folder / CENTRE_FOLDER)
    journal_path = folder / JOURNAL_FILE
    worker = FusionWorker(home, plan.base, journal_path)
    _converse(grid, home, worker, settings, journal_path)


def _converse(
    grid: Grid,
    home: CentreHome,
    worker: FusionWorker,
    settings: ConversationSettings,
    journal_path: Path,
) -> None:
    registry, journal = Registry(home), Journal(journal_path)
    desk = Desk(registry, read_inventory(worker.base))
    conversation = Conversation(
        registry, desk, FlowerCarrier(grid), worker, settings, journal
    )
    home.flower.mkdir(parents=True, exist_ok=True)
    journal.write("serving")
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
    journal.write("finished")


app = ServerApp()
app.main()(main)
