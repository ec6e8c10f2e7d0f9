"""Where a centre keeps what must outlive it; a folder of mode 0700.

HOME/
    centre.key            the centre's Ed25519 signing key, mode 0600
    endorsements/         how each earlier signing key named the next one
    database              URL of the registry, where it is not registry.sqlite
    registry.sqlite       sites, bundles, refusals, releases
    blobs/<sha256>        every admitted bundle, by the digest of its content
    refused/<sha256>.*    bundles refused, each with its reason
    quarantine/           figures and pictures of the bundles that the gate held
    releases/0001.*       payload, envelope and fusion report of every release
    ledger/               what fusion knows of every concept; saved work, may be deleted
    tls/                  the centre's own CA and server certificate
    page/                 the page's lock, and its addresses while it is served
    flower/               Flower's disposable state
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mos_protocol.signed.keys import SigningKey, load_key, save_key
from mos_runtime.files import data_folder, private_folder, read_whole
from mos_runtime.locking import locked
from mos_server.errors import CentreError

HOME_VARIABLE: Final = "MOS_CENTRE_HOME"
DATABASE_VARIABLE: Final = "MOS_CENTRE_DATABASE"


@dataclass(frozen=True)
class CentreHome:
    """The folders of one centre."""

    folder: Path

    @staticmethod
    def open(folder: Path | None = None, *, create: bool = False) -> "CentreHome":
        """A centre's home; its signing key is made at first use.

        Args:
            folder: Where it is; where None, `$MOS_CENTRE_HOME` or a folder among the
                user's data.
            create: Make it where it is not there yet.

        Raises:
            CentreError: it is not there and not to be made.
            StorageError: it cannot be written, or others may enter it.
        """
        home = CentreHome(folder or data_folder(HOME_VARIABLE, "centre"))
        if home.signing_key_path.is_file():
            private_folder(home.folder, ours=True)
            return home
        if not create:
            raise CentreError(
                f"{home.folder}: no centre has its home there; `mos-server admit` or "
                f"`mos-server serve` make one, or pass --home (or set {HOME_VARIABLE})"
            )
        private_folder(home.folder, ours=False)
        with locked(home.folder / ".lock"):
            if not home.signing_key_path.is_file():
                save_key(home.signing_key_path, SigningKey.generate())
        return home

    def signing_key(self) -> SigningKey:
        """The key that signs releases.

        Raises:
            MosError: the key file is missing or broken.
        """
        return load_key(self.signing_key_path)

    @property
    def signing_key_path(self) -> Path:
        """The centre's private key, PEM."""
        return self.folder / "centre.key"

    @property
    def endorsements(self) -> Path:
        """Envelopes by which earlier keys lead to the present one."""
        return self.folder / "endorsements"

    @property
    def serving_lock(self) -> Path:
        """Held by `mos-server serve`, so that no second one serves from here."""
        return self.folder / "serving.lock"

    @property
    def live_path(self) -> Path:
        """What `mos-server serve` tells of itself while it runs, JSON."""
        return self.flower / "live.json"

    @property
    def database_path(self) -> Path:
        """The registry's SQLite file."""
        return self.folder / "registry.sqlite"

    @property
    def database_url_path(self) -> Path:
        """The URL of the registry's database, where `init --database` set one."""
        return self.folder / "database"

    @property
    def database_url(self) -> str:
        """Where the registry is: `$MOS_CENTRE_DATABASE`, as `init` set it, or SQLite.

        Raises:
            StorageError: the file that names it cannot be read.
        """
        named = os.environ.get(DATABASE_VARIABLE, "")
        if not named and self.database_url_path.exists():
            content = read_whole(self.database_url_path, what="the database's URL")
            named = content.decode(errors="replace").strip()
        return named or f"sqlite:///{self.database_path}"

    @property
    def blobs(self) -> Path:
        """Admitted bundles, one file each, named by SHA-256 of the file."""
        return self.folder / "blobs"

    @property
    def refused(self) -> Path:
        """Refused bundles, kept aside."""
        return self.folder / "refused"

    @property
    def quarantine(self) -> Path:
        """What the gate measured of the bundles that it held, a folder each."""
        return self.folder / "quarantine"

    @property
    def releases(self) -> Path:
        """Releases, `0001.safetensors` with `.sig` beside it, and so on."""
        return self.folder / "releases"

    @property
    def ledger(self) -> Path:
        """Fusion's ledger; made anew from the bundles where it is gone."""
        return self.folder / "ledger"

    @property
    def tls(self) -> Path:
        """The centre's certificates."""
        return self.folder / "tls"

    @property
    def page(self) -> Path:
        """What `mos-server page` writes."""
        return self.folder / "page"

    @property
    def flower(self) -> Path:
        """Flower's own state; may be deleted while nothing runs."""
        return self.folder / "flower"
