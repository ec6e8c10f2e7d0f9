"""A ledger's files: content by its digest, and one pointer that says what counts.

FOLDER/
    ledger.json             what the ledger holds, naming blobs by digest
    blobs/<sha256>          safetensors files, never changed once written
    .lock                   held while the ledger changes

New blobs are written and flushed first; then `ledger.json` is replaced in one rename,
and only after it are blobs that it no longer names taken away. So whenever the process
dies, what `ledger.json` names is there and whole: the old state or the new one. Blobs
of a change that never came to its end are swept by the next.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from torch import Tensor

from mos_model.concepts.concept import Concept, OpenTensors
from mos_model.errors import ConceptError
from mos_runtime.errors import StorageError
from mos_runtime.files import read_whole, write_atomically
from mos_runtime.locking import locked
from mos_server.errors import LedgerError

LEDGER_FORMAT: Final = "mos-ledger/2"

_MOST_OPENED: Final = 4096
"""Blobs that stay open for more of their tensors; the oldest is closed first. Each
takes one memory map and no file descriptor."""


@dataclass(frozen=True)
class Entry:
    """One concept of a ledger."""

    site: str
    """The site it came from; "" for one from a file."""

    concept: str
    source: str
    """Digest of the bundle or file that it was read from."""

    rank: int
    content: str
    """Blob of the concept itself, as `Concept.to_bytes` writes it."""

    terms: str
    """Blob of A_i G_i, B_i and the report's constants (`terms`)."""

    moments: str
    """Blob of the captured triangles of G_i."""

    @property
    def name(self) -> str:
        """Its full name, `site/concept`."""
        return f"{self.site}/{self.concept}" if self.site else self.concept


@dataclass(frozen=True)
class State:
    """What a ledger holds, as `ledger.json` says it."""

    base: str
    """Fingerprint of the base."""

    settings: Mapping[str, Any]
    """Every setting of the captures and the solve, plain values."""

    prior: str = ""
    """Blob of G_0's triangles; "" until the first concept has joined."""

    total: str = ""
    """Blob of M's triangles in fixed point."""

    entries: tuple[Entry, ...] = ()
    """Ascending by site and concept."""

    def blobs(self) -> set[str]:
        """Digests of every blob that counts."""
        own = {one for e in self.entries for one in (e.content, e.terms, e.moments)}
        return own | {one for one in (self.prior, self.total) if one}


class LedgerFiles:
    """The files of one ledger."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read or made yet."""
        self.folder = folder
        self._pointer = folder / "ledger.json"
        self._blobs = folder / "blobs"
        self._checked: set[str] = set()
        self._opened: dict[str, OpenTensors] = {}

    def state(self) -> State | None:
        """What the pointer says; None where there is no ledger yet.

        Raises:
            LedgerError: the pointer is not one of this format.
        """
        self._checked.clear()
        self._opened.clear()
        if not self._pointer.is_file():
            return None
        content = read_whole(self._pointer, what="a ledger")
        try:
            values = json.loads(content)
            if values.pop("format") != LEDGER_FORMAT:
                raise ValueError("another format")
            entries = tuple(Entry(**entry) for entry in values.pop("entries"))
            return State(**values, entries=entries)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LedgerError(
                f"{self._pointer}: damaged, or of another version ({error}); rebuild "
                "the ledger from its concepts"
            ) from error

    def put(self, content: bytes) -> str:
        """Keep a blob; its digest."""
        digest = hashlib.sha256(content).hexdigest()
        write_atomically(self._blobs / digest, content, mode=0o600)
        return digest

    def blob(self, digest: str) -> bytes:
        """The blob of a digest.

        Raises:
            LedgerError: it is gone, or not what was written.
        """
        path = self._blobs / digest
        try:
            content = read_whole(path, what="a part of a ledger")
        except StorageError as error:
            raise LedgerError(f"the ledger is damaged: {error}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise LedgerError(
                f"the ledger is damaged: {path} is not what was written; rebuild it "
                "from its concepts"
            )
        return content

    def tensor(self, digest: str, name: str) -> Tensor:
        """One tensor of a blob, which is checked whole once after every `state`.

        Raises:
            LedgerError: the blob is gone, or not what was written.
        """
        try:
            return self._open(digest).get_tensor(name)
        except SafetensorError as error:
            raise LedgerError(f"the ledger is damaged: {error}") from error

    def concept(self, digest: str) -> Concept:
        """The concept of a blob, its LoRA read layer by layer when it is asked for.

        Raises:
            LedgerError: the blob is gone, or not what was written.
        """
        try:
            return Concept.from_open(self._open(digest))
        except (SafetensorError, ConceptError) as error:
            raise LedgerError(f"the ledger is damaged: {error}") from error

    def _open(self, digest: str) -> OpenTensors:
        opened = self._opened.get(digest)
        if opened is not None:
            return opened
        if digest not in self._checked:
            self.blob(digest)
            self._checked.add(digest)
        while len(self._opened) >= _MOST_OPENED:
            del self._opened[next(iter(self._opened))]
        try:
            opened = self._opened[digest] = safe_open(
                self._blobs / digest, framework="pt"
            )
        except (OSError, SafetensorError) as error:
            raise LedgerError(f"the ledger is damaged: {error}") from error
        return opened

    def commit(self, state: State) -> None:
        """Make `state` what counts, and sweep what it does not name."""
        values = {"format": LEDGER_FORMAT, **asdict(state)}
        content = json.dumps(values, sort_keys=True, indent=1).encode()
        write_atomically(self._pointer, content, mode=0o600)
        self._sweep(state.blobs())

    def clear(self) -> None:
        """Forget everything; the pointer goes first."""
        self._pointer.unlink(missing_ok=True)
        self._sweep(set())

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the ledger against other processes."""
        with locked(self.folder / ".lock"):
            yield

    def _sweep(self, kept: set[str]) -> None:
        if not self._blobs.is_dir():
            return
        for path in sorted(self._blobs.iterdir()):
            if path.name not in kept:
                path.unlink(missing_ok=True)
