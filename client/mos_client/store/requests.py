"""Statements that wait for the centre: withdrawals, and a change of this site's key.

They are offered, collected and settled as bundles are (`outbox`), and take numbers from
the same row. A statement is one file, `COUNTER.withdrawal` or `COUNTER.rotation`.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mos_client.errors import IdentityError, StoreError
from mos_client.store.enrolment import site_name
from mos_client.store.home import SiteHome, write_keys
from mos_client.store.outbox import Outbox
from mos_model.concepts.names import checked_name
from mos_protocol.errors import ProtocolError
from mos_protocol.messages import Verdict
from mos_protocol.signed.keys import SigningKey, load_key, save_key
from mos_protocol.signed.statement import (
    MAX_STATEMENT_BYTES,
    Rotation,
    SignedStatement,
    Statement,
    Withdrawal,
)
from mos_runtime.errors import StorageError
from mos_runtime.files import read_whole, write_atomically

_WITHDRAWAL: Final = ".withdrawal"
_ROTATION: Final = ".rotation"


@dataclass(frozen=True)
class RequestEntry:
    """A statement of this site, on its disk."""

    statement: Statement
    digest: str
    path: Path
    bytes: int
    """Size of its blob, which is what crosses the wire."""

    @property
    def counter(self) -> int:
        """Its number among all that the site has signed."""
        return self.statement.counter

    @property
    def concept(self) -> str:
        """The concept that is withdrawn; "" for a change of key."""
        return self.statement.concept if isinstance(self.statement, Withdrawal) else ""


class Requests:
    """The waiting statements of one site; processes may share them."""

    def __init__(self, home: SiteHome) -> None:
        """The statements of `home`."""
        self._home = home

    def withdraw(self, concept: str, *, now: int | None = None) -> RequestEntry:
        """Ask the centre to drop a concept of this site; it leaves the outbox at once.

        Args:
            concept: Its name.
            now: Unix time, seconds; the clock's where None.

        Raises:
            StoreError: this site has signed no such concept.
            StorageError: the disk is full, or the like; nothing is asked.
        """
        checked_name(concept, "concept")
        outbox = Outbox(self._home)
        known = [entry.concept for entry in (*outbox.entries(), *outbox.sent())]
        if concept not in known:
            names = ", ".join(sorted(set(known))) or "none"
            raise StoreError(
                f"<{concept}>: this site has signed no such concept; there are {names}"
            )
        moment = int(time.time()) if now is None else now
        with self._home.lock():
            counter = self._home.next_counter()
            signed = SignedStatement.sign_withdrawal(
                site=site_name(self._home),
                concept=concept,
                counter=counter,
                key=self._home.signing_key(),
                created=moment,
            )
            path = self._home.requests / f"{counter}{_WITHDRAWAL}"
            write_atomically(path, signed.to_bytes())
            for entry in outbox.entries():
                if entry.concept == concept and entry.counter < counter:
                    outbox.drop(entry)
        return self._entry(path)

    def change_key(self, *, now: int | None = None) -> RequestEntry:
        """Make a new key, and ask the centre to take it up in the present one's place.

        Until the centre has, the present key goes on signing.

        Raises:
            IdentityError: a change of key is under way already.
            StorageError: the disk is full, or the like; nothing is asked.
        """
        if any(isinstance(entry.statement, Rotation) for entry in self.entries()):
            raise IdentityError(
                f"{self._home.folder}: a change of key waits for the centre already; "
                "`mos-client join` sends it"
            )
        moment = int(time.time()) if now is None else now
        with self._home.lock():
            new = SigningKey.generate()
            save_key(self._home.next_key_path, new)
            counter = self._home.next_counter()
            signed = SignedStatement.sign_rotation(
                site=site_name(self._home),
                new_key=new,
                counter=counter,
                key=self._home.signing_key(),
                created=moment,
            )
            path = self._home.requests / f"{counter}{_ROTATION}"
            write_atomically(path, signed.to_bytes())
        return self._entry(path)

    def entries(self) -> tuple[RequestEntry, ...]:
        """What waits for the centre, in the order of signing."""
        return tuple(sorted(self._entries(), key=lambda entry: entry.counter))

    def blob(self, digest: str) -> bytes | None:
        """A statement as it crosses the wire; None where none of that digest waits."""
        for entry in self.entries():
            if entry.digest == digest:
                return read_whole(entry.path, what="a statement")
        return None

    def settle(self, verdict: Verdict) -> RequestEntry | None:
        """Do what the centre's verdict allows.

        A withdrawal that was accepted moves the concept to `withdrawn/`; a change of
        key puts the new one in place and signs anew what waits. One that was refused
        is dropped. Settling again changes nothing, also after a crash half-way.

        Returns:
            The entry; None where no such statement waits.

        Raises:
            StorageError: the disk is full, or the like; the statement still waits.
        """
        found = [entry for entry in self.entries() if entry.digest == verdict.digest]
        if not found:
            return None
        (entry,) = found
        if verdict.accepted and isinstance(entry.statement, Withdrawal):
            Outbox(self._home).take_back(entry.concept, entry.counter)
        elif verdict.accepted:
            self._take_up(entry.statement)
        entry.path.unlink(missing_ok=True)
        return entry

    def _take_up(self, rotation: Statement) -> None:
        assert isinstance(rotation, Rotation)
        home = self._home
        with home.lock():
            if home.signing_key().public != rotation.new_key:
                new = load_key(home.next_key_path)
                write_keys(home.old_keys_path, home.public_keys())
                save_key(home.signing_key_path, new)
            home.next_key_path.unlink(missing_ok=True)
        Outbox(home).sign_anew(site_name(home))

    def _entries(self) -> Iterator[RequestEntry]:
        for path in self._home.requests.glob("*.*"):
            if path.suffix in (_WITHDRAWAL, _ROTATION):
                try:
                    yield self._entry(path)
                except (ProtocolError, StorageError):
                    continue  # not one of ours, or settled just now

    def _entry(self, path: Path) -> RequestEntry:
        content = read_whole(path, what="a statement", max_bytes=MAX_STATEMENT_BYTES)
        signed = SignedStatement.from_bytes(content)
        keys = {key.key_id: key for key in self._home.public_keys()}
        signer = keys.get(signed.sealed().key_id)
        if signer is None:
            raise ProtocolError(f"{path}: not signed by this site")
        return RequestEntry(signed.verified(signer), signed.digest, path, len(content))
