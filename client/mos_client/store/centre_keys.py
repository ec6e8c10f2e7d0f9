"""Which keys this site takes releases from: the welcome's, and what followed on it.

The present key is the last of the file `centre-keys`. It is written before the first
release that it signed is stored: after a crash between the two, that release comes
again and is taken.
"""

from mos_client.store.home import SiteHome, read_keys, write_keys
from mos_protocol.signed.enrolment import Welcome
from mos_protocol.signed.keys import VerifyKey


def centre_keys(home: SiteHome, welcome: Welcome) -> tuple[VerifyKey, ...]:
    """Every key that the centre has had as far as this site saw, the present one last.

    Raises:
        StoreError: the file is broken.
    """
    return read_keys(home.centre_keys_path) or (welcome.centre_key,)


def trust(home: SiteHome, welcome: Welcome, key: VerifyKey) -> None:
    """Trust `key` from now on, in the present one's place.

    Raises:
        StorageError: it cannot be written; the present one stays.
    """
    known = centre_keys(home, welcome)
    if known[-1] != key:
        write_keys(home.centre_keys_path, (*known, key))
