"""The process that `mos-client join` supervises: Flower's SuperNode, guarded.

Six things are added to Flower's own program. An app is checked before anything of it
is stored (`guard`). An error's words are taken out of an answer (`supernode_errors`).
Why the centre is not reached is recorded (`supernode_contact`). The Runtime API, which
hands out messages and takes answers, serves this account alone
(`mos_runtime.loopback`). What it starts ends with it. And the process ends when its
main thread does: the Runtime API runs in a thread of its own, which would keep a node
that has failed alive.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import flwr.supernode.start_client_internal as flower_internals
import uvicorn
from flwr.supernode.cli import flower_supernode

from mos_client.federation import events
from mos_client.federation.guard import ForeignAppError, check_app
from mos_client.federation.supernode_contact import Contact
from mos_client.federation.supernode_errors import guarded_send
from mos_client.federation.supernode_names import JOURNAL_VARIABLE
from mos_runtime.journal import Journal
from mos_runtime.loopback import keep_to_owner
from mos_runtime.processes import end_with_us

_SEND: Final = 2
_GET_FAB: Final = 4
_PUSH: Final = 6
"""Places of `send`, `get_fab` and `push_object` in what Flower 1.39's
`_init_connection` yields."""

_connect = flower_internals._init_connection
_make_invoker = flower_internals._make_fleet_connection_retry_invoker


@contextlib.contextmanager
def _guarded_connection(**options: Any) -> Iterator[tuple[Any, ...]]:
    contact = Contact(
        _journal_path(),
        address=str(options["server_address"]),
        tls=not options["insecure"],
    )

    def followed(*arguments: Any, **limits: Any) -> Any:
        invoker = _make_invoker(*arguments, **limits)
        contact.follow(invoker)
        return invoker

    flower_internals._make_fleet_connection_retry_invoker = followed
    with _connect(**options) as connection:
        parts = list(connection)
        get_fab = parts[_GET_FAB]

        def checked(fab_hash: str, run_id: int) -> Any:
            fab = get_fab(fab_hash, run_id)
            try:
                check_app(fab.content)
            except ForeignAppError as error:
                # Recorded here: Flower logs the exception, swallows it, and ends.
                journal = Journal(_journal_path())
                journal.write(events.AppRefused(reason=str(error)))
                raise
            return fab

        parts[_GET_FAB] = checked
        parts[_SEND] = guarded_send(parts[_SEND], parts[_PUSH])
        contact.works()
        yield tuple(parts)


def main() -> NoReturn:
    """Run the guarded SuperNode; its arguments are those of `flower-supernode`."""
    keep_to_owner(uvicorn.Config)
    end_with_us(flower_internals)
    flower_internals._init_connection = _guarded_connection
    code = 1
    try:
        flower_supernode()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _journal_path() -> Path:
    return Path(os.environ[JOURNAL_VARIABLE])


if __name__ == "__main__":
    main()
