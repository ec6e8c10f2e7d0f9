"""The centre's signing key changes, and every site follows by itself.

HOME/
    centre.key             signs releases
    centre.key.next        the next one, only while a change is under way
    endorsements/0001.sig  how each key named the next one, oldest first

The new key is on the disk before the old one names it, and takes its place last: a
crash leaves the old key in charge or is finished by the next change.
"""

from pathlib import Path

from mos_protocol.signed.keys import SigningKey, VerifyKey, load_key, save_key
from mos_protocol.signed.succession import endorse
from mos_runtime.files import read_whole, write_atomically
from mos_runtime.locking import locked
from mos_server.registry.home import CentreHome

_MAX_ENDORSEMENT_BYTES = 4096


def endorsements(home: CentreHome) -> tuple[bytes, ...]:
    """How the centre's first key leads to its present one, for every release.

    Raises:
        StorageError: a file cannot be read.
    """
    return tuple(
        read_whole(path, what="an endorsement", max_bytes=_MAX_ENDORSEMENT_BYTES)
        for path in _files(home)
    )


def change_key(home: CentreHome, *, now: int) -> VerifyKey:
    """Give the centre a new signing key, named by its present one.

    Args:
        home: The centre's.
        now: Unix time, seconds.

    Returns:
        The new public key.

    Raises:
        MosError: the present key cannot be read, or the disk is full; then the present
            key goes on signing.
    """
    coming = home.signing_key_path.with_name("centre.key.next")
    with locked(home.folder / ".lock"):
        old = home.signing_key()
        if not coming.is_file():
            save_key(coming, SigningKey.generate())
        new = load_key(coming)
        number = len(_files(home)) + 1
        envelope = endorse(new.public, key=old, created=now)
        write_atomically(home.endorsements / f"{number:04d}.sig", envelope)
        coming.replace(home.signing_key_path)
    return new.public


def _files(home: CentreHome) -> list[Path]:
    return sorted(home.endorsements.glob("*.sig"))
