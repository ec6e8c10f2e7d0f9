"""The centre's calls, as this site takes them: verified, and each acted on once.

HOME/calls/EXPIRES-NONCE   an empty file per call that was acted on, until it expired

The file is made before the call is acted on, and making it fails where it is there: so
of two processes that are shown one call only one acts.
"""

import time

from mos_client.errors import IdentityError
from mos_client.store.centre_keys import centre_keys
from mos_client.store.enrolment import read_welcome
from mos_client.store.home import SiteHome
from mos_protocol.errors import CallError, Reason
from mos_protocol.signed.call import MAX_CLOCK_SKEW_SECONDS, Address, Call, open_call
from mos_runtime.errors import StorageError


def take_call(
    home: SiteHome,
    envelope: bytes,
    blob: bytes | None,
    at: Address,
    *,
    now: int | None = None,
) -> Call:
    """A call of this site's centre to this node, which was not acted on before.

    Args:
        home: The site's.
        envelope: As it came.
        blob: What came with it.
        at: This node, this run, and the action that is to be done.
        now: Unix time, seconds; the clock's where None.

    Raises:
        IdentityError: this site has no welcome, and so no centre to trust.
        CallError: the call is not the centre's, or not for here and now.
        StorageError: it cannot be remembered, and so not be acted on.
    """
    moment = int(time.time()) if now is None else now
    welcome = read_welcome(home)
    if welcome is None:
        raise IdentityError("this site has no welcome, and so no centre to trust")
    trusted = centre_keys(home, welcome)[-1]
    call = open_call(envelope, blob, at=at, trusted=trusted, now=moment)
    _remember(home, call, moment)
    return call


def _remember(home: SiteHome, call: Call, now: int) -> None:
    try:
        home.calls.mkdir(mode=0o700, exist_ok=True)
        for path in home.calls.iterdir():
            expires, _, _ = path.name.partition("-")
            if expires.isdecimal() and int(expires) + MAX_CLOCK_SKEW_SECONDS < now:
                path.unlink(missing_ok=True)
        (home.calls / f"{call.expires}-{call.nonce}").touch(exist_ok=False)
    except FileExistsError as error:
        raise CallError(Reason.REPLAYED, "this call was acted on before") from error
    except OSError as error:
        raise StorageError(
            f"{home.calls}: a call cannot be noted: {error.strerror}"
        ) from error
