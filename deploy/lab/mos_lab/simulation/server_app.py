"""The centre of a simulation: its ServerApp, until every site holds the release."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from mos_lab.simulation.plan import CENTRE_FOLDER, SIMULATION_KEY, SimulationPlan
from mos_protocol.messages import TuneAsk
from mos_server.federation.app import converse, crashes_noted
from mos_server.federation.carrier import ConversationSettings
from mos_server.federation.flower_carrier import FlowerCarrier
from mos_server.federation.fusion_worker import FusionWorker
from mos_server.federation.names import JOURNAL_FILE
from mos_server.registry.home import CentreHome


def main(grid: Grid, context: Context) -> None:
    """Serve the simulated sites until all that was brought is released to all."""
    folder = Path(str(context.run_config[SIMULATION_KEY]))
    journal = folder / JOURNAL_FILE
    with crashes_noted(journal):
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
        worker = FusionWorker(home, plan.base, journal, gate=not plan.synthetic)
        converse(FlowerCarrier(grid, context.run_id), home, worker, settings, journal)


app = ServerApp()
app.main()(main)
