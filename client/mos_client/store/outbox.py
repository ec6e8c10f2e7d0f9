"""Signed bundles that wait for the centre, and what became of them.

A bundle is two files, `CONCEPT.COUNTER.safetensors` and its envelope with `.sig`; the
envelope is written last and removed first, so a pair that is there is whole.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mos_client.errors import StoreError
from mos_client.store.home import SiteHome
from mos_protocol.errors import ProtocolError
from mos_protocol.messages import Verdict
from mos_protocol.signed.bundle import (
    BUNDLE_LIFETIME_SECONDS,
    MAX_BUNDLE_BYTES,
    Bundle,
    BundleFacts,
    hour_of,
)
from mos_protocol.signed.envelope import MAX_ENVELOPE_BYTES
from mos_protocol.signed.keys import VerifyKey
from mos_runtime.errors import StorageError
from mos_runtime.files import read_whole, write_atomically

_PAYLOAD: Final = ".safetensors"
_SIGNATURE: Final = ".safetensors.sig"
_REASON: Final = ".reason.txt"


@dataclass(frozen=True)
class OutboxEntry:
    """A bundle of this site, on its disk."""

    concept: str
    site: str
    """The name that it is signed under."""

    digest: str
    """SHA-256 of its manifest, 64 hexadecimal digits."""

    counter: int
    path: Path
    """The concept's file; its envelope lies beside it."""

    bytes: int
    """Size of the bundle's blob, which is what crosses the wire."""

    created: int
    """Unix time, seconds."""

    signer: str
    """Id of the key that signed it, the site's present one or an older one."""

    reason: str = ""
    """Why the centre refused it, where it did."""


class Outbox:
    """The bundles of one site; processes may share it."""

    def __init__(self, home: SiteHome) -> None:
        """The outbox of `home`."""
        self._home = home

    def put(
        self, concept_bytes: bytes, site: str, now: int | None = None
    ) -> OutboxEntry:
        """Sign a concept and let it wait; it replaces an older one of its name.

        Args:
            concept_bytes: `Concept.to_bytes()`.
            site: The site's name.
            now: Unix time, seconds; the clock's where None. Its hour is signed.

        Raises:
            MalformedError: the bytes are not a concept's file.
            StorageError: the disk is full, or the like; nothing is left half-written.
        """
        created = hour_of(int(time.time()) if now is None else now)
        key = self._home.signing_key()
        with self._home.lock():
            counter = self._home.next_counter()
            bundle = Bundle.sign(
                concept_bytes,
                site=site,
                counter=counter,
                key=key,
                created=created,
                expires=created + BUNDLE_LIFETIME_SECONDS,
            )
            facts = bundle.verified(key.public)
            path = self._home.outbox / f"{facts.concept}.{counter}{_PAYLOAD}"
            _write(bundle, path)
            for older in self._in(self._home.outbox):
                if older.concept == facts.concept and older.counter < counter:
                    _remove(older.path)
        return _entry(path, bundle, facts)

    def sign_anew(self, site: str) -> tuple[OutboxEntry, ...]:
        """Sign what waits under another name or key, as after enrolment.

        Raises:
            StorageError: the disk is full, or the like; what waited still waits.
        """
        present = self._home.signing_key().public.key_id
        return tuple(
            self.put(Bundle.read(entry.path).payload, site)
            for entry in self.entries()
            if entry.site != site or entry.signer != present
        )

    def entries(self) -> tuple[OutboxEntry, ...]:
        """What waits for the centre, in the order of signing."""
        return tuple(self._in(self._home.outbox))

    def sent(self) -> tuple[OutboxEntry, ...]:
        """What the centre accepted, in the order of signing."""
        return tuple(self._in(self._home.sent))

    def refused(self) -> tuple[OutboxEntry, ...]:
        """What the centre refused, with its reasons, in the order of signing."""
        return tuple(self._in(self._home.refused))

    def withdrawn(self) -> tuple[OutboxEntry, ...]:
        """What this site took back, in the order of signing."""
        return tuple(self._in(self._home.withdrawn))

    def take_back(self, concept: str, counter: int) -> None:
        """Move what was signed of a concept before `counter` to `withdrawn/`.

        Doing it again changes nothing, also after a crash half-way.

        Raises:
            StorageError: the disk is full, or the like.
        """
        with self._home.lock():
            for entry in (*self.entries(), *self.sent()):
                if entry.concept == concept and entry.counter < counter:
                    path = self._home.withdrawn / entry.path.name
                    _write(Bundle.read(entry.path), path)
                    _remove(entry.path)

    def bundle(self, digest: str) -> Bundle:
        """A bundle that waits, or was accepted, by its digest.

        Raises:
            StoreError: there is none, as when a newer one has replaced it.
            StorageError: a file cannot be read.
        """
        for entry in (*self.entries(), *self.sent()):
            if entry.digest == digest:
                return Bundle.read(entry.path)
        raise StoreError(
            f"bundle {digest[:12]}: not in the outbox; a newer one may have replaced it"
        )

    def drop(self, entry: OutboxEntry) -> None:
        """Take a bundle out of the outbox, as if it had never waited."""
        _remove(entry.path)

    def settle(self, verdict: Verdict) -> OutboxEntry | None:
        """Move a bundle where the centre's verdict puts it.

        An accepted one goes to `sent/`, a refused one to `outbox/refused/` with its
        reason, also from `sent/`: the centre may find later that an accepted bundle
        cannot be fused, or quarantine it; released, it goes back to `sent/`. Settling
        again changes nothing, also after a crash half-way.

        Returns:
            The entry at its new place; None where nothing was to be moved.

        Raises:
            StorageError: the disk is full, or the like; the bundle still waits.
        """
        with self._home.lock():
            open_ones = {entry.digest: entry for entry in self.entries()}
            elsewhere = self._home.refused if verdict.accepted else self._home.sent
            open_ones |= {entry.digest: entry for entry in self._in(elsewhere)}
            entry = open_ones.get(verdict.digest)
            if entry is None:
                return None
            folder = self._home.sent if verdict.accepted else self._home.refused
            path = folder / entry.path.name
            if not verdict.accepted:
                reason = verdict.reason.strip() or "no reason given"
                write_atomically(_reason(path), f"{reason}\n".encode())
            _write(Bundle.read(entry.path), path)
            _remove(entry.path)
            for older in self._in(folder):
                if older.concept == entry.concept and older.counter < entry.counter:
                    _remove(older.path)
            moved = {now.digest: now for now in self._in(folder)}
            return moved[verdict.digest]

    def _in(self, folder: Path) -> Iterator[OutboxEntry]:
        keys = {key.key_id: key for key in self._home.public_keys()}
        found = [_read(path, keys) for path in folder.glob(f"*{_SIGNATURE}")]
        whole = [entry for entry in found if entry is not None]
        yield from sorted(whole, key=lambda entry: entry.counter)


def _write(bundle: Bundle, path: Path) -> None:
    try:
        bundle.write(path)
    except BaseException:
        _remove(path)
        raise


def _remove(path: Path) -> None:
    """Take a pair away, its envelope first."""
    for file in (path.with_name(f"{path.name}.sig"), path, _reason(path)):
        with suppress(OSError):
            file.unlink(missing_ok=True)


def _read(signature: Path, keys: Mapping[str, VerifyKey]) -> OutboxEntry | None:
    """The entry of an envelope; None where it is not one of ours, or lacks its file."""
    path = signature.with_suffix("")
    try:
        envelope = read_whole(
            signature, what="an envelope", max_bytes=MAX_ENVELOPE_BYTES
        )
        bundle = Bundle(envelope, b"")
        key = keys.get(bundle.sealed().key_id)
        if key is None:
            return None
        facts = bundle.verified(key)
        if path.stat().st_size != facts.payload_bytes:
            return None
    except (StorageError, ProtocolError, OSError):
        return None
    return _entry(path, bundle, facts)


def _entry(path: Path, bundle: Bundle, facts: BundleFacts) -> OutboxEntry:
    reason = ""
    if _reason(path).is_file():
        text = read_whole(_reason(path), what="a reason", max_bytes=MAX_BUNDLE_BYTES)
        reason = text.decode(errors="replace").strip()
    return OutboxEntry(
        concept=facts.concept,
        site=facts.site,
        digest=bundle.digest,
        counter=facts.counter,
        path=path,
        bytes=len(Bundle(bundle.envelope, b"").to_bytes()) + facts.payload_bytes,
        created=facts.created,
        signer=bundle.sealed().key_id,
        reason=reason,
    )


def _reason(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(_PAYLOAD) + _REASON)
