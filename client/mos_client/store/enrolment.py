"""Enrolment by two files: this site's request, and the centre's welcome."""

import time
from typing import Final

from mos_client.errors import IdentityError
from mos_client.store.centre_keys import centre_keys
from mos_client.store.home import SiteHome, name_of_this_machine
from mos_client.store.outbox import Outbox
from mos_protocol.signed.enrolment import EnrolmentRequest, Welcome
from mos_runtime.files import read_whole, write_atomically

MAX_WELCOME_BYTES: Final = 2**20


def make_request(home: SiteHome, name: str, *, now: int | None = None) -> bytes:
    """This site's request, signed by its own key; the site is called `name` from now.

    Args:
        home: The site's home.
        name: What the site wants to be called.
        now: Unix time, seconds; the clock's where None.

    Returns:
        The file for the centre, text.

    Raises:
        IdentityError: the site is already welcome under another name.
        ConceptError: `name` is not a name.
        StorageError: the home cannot be written.
    """
    welcome = read_welcome(home)
    if welcome is not None and welcome.site != name:
        raise IdentityError(
            f"{home.folder}: already enrolled as {welcome.site!r}; enrol {name!r} with "
            "another --home"
        )
    home.set_name(name)
    Outbox(home).sign_anew(name)
    node_key = read_whole(home.node_public_path, what="a node key", max_bytes=2**16)
    request = EnrolmentRequest.sign(
        site=name,
        key=home.signing_key(),
        node_key=node_key,
        created=int(time.time()) if now is None else now,
    )
    content = request.to_bytes()
    write_atomically(home.request_path, content)
    return content


def keep_welcome(home: SiteHome, content: bytes) -> Welcome:
    """Take up the centre's welcome.

    Args:
        home: The site's home.
        content: The file that came from the centre.

    Raises:
        ProtocolError: it is not a welcome.
        IdentityError: it is for another site, or from another centre than before.
        StorageError: the home cannot be written.
    """
    welcome = Welcome.from_bytes(content)
    name = home.name()
    if name is not None and welcome.site != name:
        raise IdentityError(
            f"the welcome is for site {welcome.site!r}, this is {name!r} "
            f"({home.folder}); ask for a welcome to your own request"
        )
    known = read_welcome(home)
    if known is not None and welcome.centre_key not in centre_keys(home, known):
        raise IdentityError(
            f"the welcome is from centre {welcome.centre_key.short}, this site belongs "
            f"to {centre_keys(home, known)[-1].short}; join another centre with "
            "another --home"
        )
    home.set_name(welcome.site)
    Outbox(home).sign_anew(welcome.site)
    write_atomically(home.welcome_path, content)
    return welcome


def read_welcome(home: SiteHome) -> Welcome | None:
    """The centre's welcome, if this site has one.

    Raises:
        ProtocolError: the file is broken.
    """
    if not home.welcome_path.is_file():
        return None
    content = read_whole(
        home.welcome_path, what="a welcome", max_bytes=MAX_WELCOME_BYTES
    )
    return Welcome.from_bytes(content)


def site_name(home: SiteHome, wanted: str | None = None) -> str:
    """What this site signs as: its own name, else `wanted`, else the machine's.

    A name that was wanted is kept; the machine's is not, until the site enrols.

    Raises:
        IdentityError: the site is called otherwise than `wanted`.
        ConceptError: `wanted` is not a name.
    """
    name = home.name()
    if name is None:
        if wanted is None:
            return name_of_this_machine()
        home.set_name(wanted)
        return wanted
    if wanted is not None and wanted != name:
        raise IdentityError(
            f"--site {wanted}: this site is called {name!r} ({home.folder}); leave "
            "--site out, or pass another --home"
        )
    return name
