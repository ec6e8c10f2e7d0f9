"""`mos-client`: what a site types."""

from typing import NoReturn

from mos_client.commands.federation.enroll import enroll
from mos_client.commands.federation.join import join
from mos_client.commands.federation.releases import releases
from mos_client.commands.federation.share import share
from mos_client.commands.federation.status import status
from mos_client.commands.federation.withdraw import withdraw
from mos_client.commands.files.concepts import concepts
from mos_client.commands.files.export import export
from mos_client.commands.files.import_ import import_
from mos_client.commands.files.inspect import inspect
from mos_client.commands.files.publish import publish
from mos_client.commands.files.verify import verify
from mos_client.commands.sampling.layout import layout
from mos_client.commands.sampling.sample import sample
from mos_client.commands.studio import studio
from mos_client.commands.tuning.tune import tune
from mos_runtime.console import new_app, run

app = new_app("A site: tune concepts on your own pictures, share them signed, sample.")

app.command()(tune)
app.command()(sample)
app.add_typer(layout, name="layout")
app.command()(studio)
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
app.command()(publish)


def main() -> NoReturn:
    """Run `mos-client`."""
    run(app)
