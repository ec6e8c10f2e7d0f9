"""`mos-server`: what the centre types."""

from typing import NoReturn

from mos_server.commands.fuse import fuse
from mos_shared.console import new_app, run

app = new_app(
    "The centre: admit sites, verify and fuse their concepts, publish releases."
)

app.command()(fuse)


def main() -> NoReturn:
    """Run `mos-server`."""
    run(app)
