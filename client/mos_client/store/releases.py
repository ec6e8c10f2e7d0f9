"""Releases that came from the centre, on this site's disk.

A release is checked whole (`mos_protocol.rules.trust`) before a byte of it is stored,
and is held once its envelope is: payload first, envelope last. The newest few are
kept; the newest of all is never dropped, for a next one must follow on it. One that has
expired stays, and `usable` warns of it or refuses it, as the site has chosen.
"""

import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

from mos_client.errors import IdentityError, StoreError
from mos_client.store.centre_keys import centre_keys, trust
from mos_client.store.enrolment import read_welcome
from mos_client.store.freshness import expired, newest_stated, warnings_of
from mos_client.store.home import SiteHome
from mos_model.bases.inventory import Inventory
from mos_protocol.encoding.canonical import sha256
from mos_protocol.errors import ProtocolError, Reason, ReleaseError
from mos_protocol.rules.at_rest import release_as_signed
from mos_protocol.rules.trust import HeldRelease, ReleaseTrust
from mos_protocol.signed.enrolment import Welcome
from mos_protocol.signed.envelope import MAX_ENVELOPE_BYTES
from mos_protocol.signed.release import (
    Release,
    ReleaseFacts,
    release_facts,
    release_version,
)
from mos_runtime.files import read_whole, write_atomically

KEEP_RELEASES: Final = 10
"""Kept where this site has not said how many."""

_SUFFIX: Final = ".safetensors"
_KEEP_FILE: Final = "keep"
_EXPIRED_FILE: Final = "expired"


class WhenExpired(StrEnum):
    """What becomes of a release that has expired."""

    WARN = "warn"
    """It is used, with a warning."""

    REFUSE = "refuse"
    """It is not used."""


class ReleaseStore:
    """The releases of one site; processes may share it."""

    def __init__(self, home: SiteHome) -> None:
        """The releases of `home`."""
        self._home = home

    def versions(self) -> tuple[int, ...]:
        """The versions held, ascending.

        A file counts under the version that its manifest names, and under no other: a
        copy under a higher number does not make honest releases look rolled back.
        """
        return tuple(version for version, _ in reversed(list(self._manifests())))

    def held(self) -> HeldRelease | None:
        """The newest release held: what a next one must follow on.

        Raises:
            MosError: an envelope is broken.
        """
        for version, manifest in self._manifests():
            return HeldRelease(version, sha256(manifest))
        return None

    def newest(self) -> ReleaseFacts | None:
        """The facts of the newest release held, from its manifest; None for none.

        Raises:
            MosError: an envelope is broken.
        """
        for _, manifest in self._manifests():
            return release_facts(manifest)
        return None

    def _manifests(self) -> Iterator[tuple[int, bytes]]:
        """Version and manifest of every release held, the newest first."""
        paths = self._home.releases.glob(f"*{_SUFFIX}.sig")
        for path in sorted(paths, key=_by_number, reverse=True):
            digits = path.name.removesuffix(f"{_SUFFIX}.sig")
            if not digits.isdigit() or not path.with_suffix("").is_file():
                continue
            content = read_whole(path, what="an envelope", max_bytes=MAX_ENVELOPE_BYTES)
            try:
                manifest = Release(content, b"").sealed().payload
                named = release_version(manifest)
            except ProtocolError as error:
                raise StoreError(
                    f"{path}: {error}; delete it, and the centre sends it anew"
                ) from error
            if path == self._signature(named):
                yield named, manifest

    def take(
        self,
        content: bytes,
        *,
        welcome: Welcome,
        now: int | None = None,
        inventory: Inventory | None = None,
    ) -> ReleaseFacts:
        """Check a release and keep it.

        Args:
            content: `Release.to_bytes()` as it came.
            welcome: Whose releases this site trusts, and for which base.
            now: Unix time, seconds; the clock's where None.
            inventory: The base's names and shapes, where the base is here.

        Raises:
            ReleaseError: it is refused, with its reason; nothing changed.
            StorageError: the disk is full, or the like; nothing changed.
        """
        moment = int(time.time()) if now is None else now
        with self._home.lock():
            held = self.held()
            rules, trusted = ReleaseTrust(), centre_keys(self._home, welcome)[-1]
            facts = rules.check(
                content,
                centre_key=trusted,
                base=welcome.base,
                inventory=inventory,
                held=held,
                now=moment,
            )
            trust(self._home, welcome, rules.signer(content, trusted))
            if held is not None and facts.version == held.version:
                return facts
            path = self._path(facts.version)
            try:
                Release.from_bytes(content).write(path)
            except BaseException:
                self._signature(facts.version).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                raise
            self._prune()
        return facts

    @property
    def keep(self) -> int:
        """How many releases are kept."""
        path = self._home.releases / _KEEP_FILE
        if not path.is_file():
            return KEEP_RELEASES
        text = read_whole(path, what="a number of releases", max_bytes=64).strip()
        if not text.isdigit() or int(text) < 1:
            raise StoreError(
                f"{path}: not a number above 0; `mos-client releases --keep` writes it"
            )
        return int(text)

    def set_keep(self, number: int) -> None:
        """Keep the newest `number` releases from now on, at least one.

        Raises:
            StorageError: it cannot be written.
        """
        with self._home.lock():
            path = self._home.releases / _KEEP_FILE
            write_atomically(path, f"{max(1, number)}\n".encode())
            self._prune()

    @property
    def when_expired(self) -> WhenExpired:
        """What becomes of an expired release: a warning, unless the site chose."""
        path = self._home.releases / _EXPIRED_FILE
        if not path.is_file():
            return WhenExpired.WARN
        text = read_whole(path, what="a setting", max_bytes=64).strip()
        try:
            return WhenExpired(text.decode("ascii", "replace"))
        except ValueError as error:
            raise StoreError(
                f"{path}: neither warn nor refuse; `mos-client releases --expired` "
                "writes it"
            ) from error

    def set_when_expired(self, choice: WhenExpired) -> None:
        """Warn of expired releases, or refuse them, from now on.

        Raises:
            StorageError: it cannot be written.
        """
        path = self._home.releases / _EXPIRED_FILE
        write_atomically(path, f"{choice}\n".encode())

    def _prune(self) -> None:
        for version in self.versions()[: -self.keep]:
            self._signature(version).unlink(missing_ok=True)
            self._path(version).unlink(missing_ok=True)

    def path(self, version: int | str = "newest") -> Path:
        """The file of a release held; `sample` and other tools open it.

        Args:
            version: Its number, or "newest".

        Raises:
            StoreError: it is not held.
        """
        versions = self.versions()
        if not versions:
            raise StoreError(
                f"{self._home.releases}: no release has come yet; `mos-client join` "
                "receives them"
            )
        if version == "newest":
            return self._path(versions[-1])
        if not str(version).isdigit() or int(version) not in versions:
            held = ", ".join(map(str, versions))
            raise StoreError(f"release {version}: not held; there are {held}")
        return self._path(int(version))

    def read(self, version: int | str = "newest") -> Release:
        """A release held, verified by the centre's key once more.

        Args:
            version: Its number, or "newest".

        Raises:
            StoreError: it is not held.
            IdentityError: this site has no welcome, so no key to verify by.
            ProtocolError: its files are not what the centre signed.
        """
        path = self.path(version)
        welcome = read_welcome(self._home)
        if welcome is None:
            raise IdentityError(
                f"{self._home.welcome_path}: there is none, so nothing tells the "
                "centre's key; `mos-client join` a welcome"
            )
        release = Release.read(path)
        try:
            keys = {key.key_id: key for key in centre_keys(self._home, welcome)}
            signer = release.sealed().key_id
            release_as_signed(release, keys.get(signer, welcome.centre_key))
        except ProtocolError as error:
            raise type(error)(f"{path}: {error}") from error
        return release

    def usable(
        self, version: int | str = "newest", *, now: int | None = None
    ) -> tuple[Release, tuple[str, ...]]:
        """A release to be used, verified, and what speaks against it.

        Args:
            version: Its number, or "newest".
            now: Unix time, seconds; the clock's where None.

        Raises:
            ReleaseError: it has expired, and the site refuses those.
            MosError: as of `read`.
        """
        release = self.read(version)
        facts = release_facts(release.sealed().payload)
        moment = int(time.time()) if now is None else now
        if moment >= facts.expires and self.when_expired is WhenExpired.REFUSE:
            raise ReleaseError(
                Reason.EXPIRED,
                f"{expired(facts.version, facts.expires)}. This site refuses expired "
                "releases; `mos-client releases --expired warn` allows them",
            )
        return release, self.warnings(facts, now=moment)

    def warnings(self, facts: ReleaseFacts, *, now: int) -> tuple[str, ...]:
        """What speaks against using a release held, a sentence each."""
        newest = newest_stated(self._home)
        return warnings_of(facts.version, facts.expires, newest, now=now)

    def _signature(self, version: int) -> Path:
        path = self._path(version)
        return path.with_name(f"{path.name}.sig")

    def _path(self, version: int) -> Path:
        return self._home.releases / f"{version:04d}{_SUFFIX}"


def _by_number(path: Path) -> tuple[int, str]:
    """Orders `9999.…` before `10000.…`."""
    return len(path.name), path.name
