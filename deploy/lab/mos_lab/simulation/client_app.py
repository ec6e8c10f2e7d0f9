"""A site of a simulation: the ClientApp of a real site, for the site of a partition."""

from pathlib import Path

from flwr.app import Context

from mos_client.errors import SiteError
from mos_client.federation.app import site_app
from mos_client.federation.node import Site, SiteTuning
from mos_lab.simulation.plan import PARTITION_KEY, SIMULATION_KEY, SimulationPlan
from mos_lab.simulation.sites import open_home


def simulated_site(context: Context) -> Site:
    """The site of a partition of the simulation that the run names.

    Raises:
        SiteError: the context is not that of a simulation.
    """
    node, folder = context.node_config, context.run_config.get(SIMULATION_KEY)
    if PARTITION_KEY not in node or not folder:
        raise SiteError("this Flower node is not one of a simulation")
    plan = SimulationPlan.read(Path(str(folder)))
    site = plan.sites[int(node[PARTITION_KEY])]
    home = open_home(Path(str(folder)), site.name)
    if not site.pictures:
        return Site(home, None)
    tuning = SiteTuning(
        Path(site.pictures), plan.base, plan.steps, plan.seed, plan.threads
    )
    return Site(home, tuning)


app = site_app(simulated_site)
