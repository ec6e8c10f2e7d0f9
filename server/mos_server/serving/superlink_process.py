"""The process that `mos-server serve` supervises: Flower's SuperLink, guarded.

Three things are added to Flower's own program. The Fleet API, the one port that others
reach, stands behind a gate (`fleet_gate`). Control and Runtime API, which run whatever
they are given, serve this account alone (`mos_runtime.loopback`). And the process may
hold as many connections as the system allows it.
"""

import resource
from typing import NoReturn

import flwr.superlink.cli.flower_superlink as flower_internals

from mos_runtime.loopback import keep_to_owner
from mos_server.serving.fleet_gate import gated_server


def main() -> NoReturn:
    """Run the guarded SuperLink; its arguments are those of `flower-superlink`."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    keep_to_owner(flower_internals.uvicorn.Config)
    flower_internals.generic_create_grpc_server = gated_server
    flower_internals.flower_superlink()
    raise SystemExit(0)


if __name__ == "__main__":
    main()
