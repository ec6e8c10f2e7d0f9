"""`mos-client`: what a site types."""

from typing import NoReturn

from mos_client.commands.concepts import concepts
from mos_client.commands.enroll import enroll
from mos_client.commands.export import export
from mos_client.commands.import_ import import_
from mos_client.commands.inspect import inspect
from mos_client.commands.join import join
from mos_client.commands.layout import layout
from mos_client.commands.releases import releases
from mos_client.commands.sample import sample
from mos_client.commands.share import share
from mos_client.commands.status import status
from mos_client.commands.tune import tune
from mos_client.commands.verify import verify
from mos_client.commands.withdraw import withdraw
from mos_shared.console import new_app, run

app = new_app("A site: tune concepts on your own pictures, share them signed, sample.")

app.command()(tune)
app.command()(sample)
app.add_typer(layout, name="layout")
app.command()(join)
app.command()(enroll)
app.command()(share)
app.command()(status)
app.command()(releases)
app.command()(withdraw)
app.command()(concepts)
app.command()(inspect)
app.command()(verify)
app.command("import")(import_)
app.command()(export)


def main() -> NoReturn:
    """Run `mos-client`."""
    run(app)
