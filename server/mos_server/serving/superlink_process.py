"""The process that `mos-server serve` supervises: Flower's SuperLink, guarded.

Four things are added to Flower's own program. The Fleet API, the one port that others
reach, stands behind a gate (`fleet_gate`). Control and Runtime API, which run whatever
they are given, serve this account alone (`mos_runtime.loopback`). What it starts ends
with it. And the process may hold as many connections as the system allows.
"""

import resource
import sys
from typing import NoReturn

from flwr.superlink.cli.flower_superlink import flower_superlink

from mos_runtime.loopback import keep_to_owner
from mos_runtime.processes import end_with_us
from mos_server.serving.fleet_gate import gated_server


def main() -> NoReturn:
    """Run the guarded SuperLink; its arguments are those of `flower-superlink`."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Flower's package gives the function the module's name, so no import reaches it.
    internals = sys.modules[flower_superlink.__module__]
    keep_to_owner(internals.uvicorn.Config)
    end_with_us(internals)
    internals.generic_create_grpc_server = gated_server  # type: ignore[attr-defined]
    flower_superlink()
    raise SystemExit(0)


if __name__ == "__main__":
    main()
