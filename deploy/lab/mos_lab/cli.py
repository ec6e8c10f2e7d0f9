"""`mos-lab`: a whole federation on one machine, and figures of it."""

from typing import NoReturn

from mos_lab.commands.demo import demo
from mos_lab.commands.evaluate import evaluate
from mos_lab.commands.simulate import simulate
from mos_runtime.console import new_app, run

app = new_app("The laboratory: simulate a federation, run the demo, evaluate.")

app.command()(demo)
app.command()(simulate)
app.command()(evaluate)


def main() -> NoReturn:
    """Run `mos-lab`."""
    run(app)
