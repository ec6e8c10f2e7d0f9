"""`mos-server`: what the centre types."""

from typing import NoReturn

from mos_runtime.console import new_app, run
from mos_server.commands.admit import admit
from mos_server.commands.fuse import fuse
from mos_server.commands.init import change_key, init
from mos_server.commands.laboratory import add_aliases
from mos_server.commands.page import page
from mos_server.commands.quarantine import app as quarantine
from mos_server.commands.releases import releases
from mos_server.commands.report import report
from mos_server.commands.serve import serve
from mos_server.commands.sites import revoke, sites, withdraw
from mos_server.commands.sizes import sizes
from mos_server.commands.status import status
from mos_server.commands.tune import tune

app = new_app(
    "The centre: admit sites, verify and fuse their concepts, publish releases."
)

app.command()(init)
app.command()(fuse)
app.command()(sizes)
app.command()(admit)
app.command()(sites)
app.command()(revoke)
app.command()(withdraw)
app.command()(releases)
app.add_typer(quarantine, name="quarantine")
app.command()(report)
app.command()(serve)
app.command()(page)
app.command()(status)
app.command()(tune)
app.command()(change_key)
add_aliases(app)


def main() -> NoReturn:
    """Run `mos-server`."""
    run(app)
