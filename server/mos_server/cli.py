"""`mos-server`: what the centre types."""

from typing import NoReturn

from mos_shared.console import new_app, run

app = new_app(
    "The centre: admit sites, verify and fuse their concepts, publish releases."
)


def main() -> NoReturn:
    """Run `mos-server`."""
    run(app)
