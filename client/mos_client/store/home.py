"""Where a site keeps what must outlive it; a folder of mode 0700.

HOME/
    site.key          the site's Ed25519 key, which signs its bundles, mode 0600
    site.key.next     the next one, while the centre has not taken it up yet
    old-keys          public keys that signed before, one a line
    node.key          the ECDSA P-384 key that Flower's SuperNode shows, mode 0600
    node.pub          its public half, OpenSSH form
    name              the site's name
    counter           the highest counter ever given to a bundle
    welcome           what the centre answered to the enrolment
    centre-keys       the centre's signing keys, one a line, the present one last
    newest-release    which release is the newest, as the centre last stated
    policy.toml       what the centre may ask this site to tune
    calls/            the centre's calls that were acted on, until they expire
    requests/         withdrawals, and a change of key, that wait for the centre
    outbox/           signed bundles that wait for the centre
    outbox/refused/   bundles that the centre refused, each with its reason
    sent/             bundles that the centre accepted
    withdrawn/        bundles that this site took back
    releases/0001.*   releases received; `keep` says how many are kept, `expired`
                      what becomes of expired ones
    flower/           Flower's disposable state
    studio/           pictures, layouts and uploads of `mos-client studio`
"""

import platform
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mos_client.errors import IdentityError, StoreError
from mos_model.concepts.names import checked_name
from mos_protocol.errors import MalformedError
from mos_protocol.signed.keys import SigningKey, VerifyKey, load_key, save_key
from mos_runtime.files import data_folder, private_folder, read_whole, write_atomically
from mos_runtime.locking import locked

HOME_VARIABLE: Final = "MOS_SITE_HOME"


@dataclass(frozen=True)
class SiteHome:
    """The folders and keys of one site."""

    folder: Path

    @staticmethod
    def open(folder: Path | None = None, *, create: bool = False) -> "SiteHome":
        """A site's home; its keys are made at first use.

        Args:
            folder: Where it is; where None, `$MOS_SITE_HOME` or a folder among the
                user's data.
            create: Make it where it is not there yet.

        Raises:
            IdentityError: it is not there and not to be made.
            StorageError: it cannot be written, or others may enter it.
        """
        home = SiteHome(folder or data_folder(HOME_VARIABLE, "site"))
        if home._complete():
            private_folder(home.folder, ours=True)
            return home
        if not create:
            raise IdentityError(
                f"{home.folder}: no site has its home there; `mos-client enroll` makes "
                f"one, or pass --home (or set {HOME_VARIABLE})"
            )
        private_folder(home.folder, ours=home.signing_key_path.is_file())
        with home.lock():
            home._make_keys()
        return home

    def lock(self) -> AbstractContextManager[None]:
        """Hold the site's state: one process at a time changes it."""
        return locked(self.folder / ".lock")

    def signing_key(self) -> SigningKey:
        """The key that signs this site's bundles.

        Raises:
            MosError: the key file is missing or broken.
        """
        return load_key(self.signing_key_path)

    def public_keys(self) -> tuple[VerifyKey, ...]:
        """All that this site has ever signed with, the present one last.

        Raises:
            MosError: a file is missing or broken.
        """
        return (*read_keys(self.old_keys_path), self.signing_key().public)

    def next_counter(self) -> int:
        """A number for what is to be signed, never given before; hold `lock`.

        It is on the disk before it is used: a crash skips a number and never uses one
        twice, which the centre would refuse.

        Raises:
            StoreError: the file holds no number.
            StorageError: it cannot be written.
        """
        path, last = self.counter_path, 0
        if path.exists():
            text = read_whole(path, what="the counter", max_bytes=64)
            try:
                last = int(text)
            except ValueError as error:
                raise StoreError(
                    f"{path}: not a number; write the highest counter of `mos-client "
                    "concepts` there, or enrol anew with a new --home"
                ) from error
        write_atomically(path, f"{last + 1}\n".encode())
        return last + 1

    def name(self) -> str | None:
        """The name this site enrolled under or was told to have, if any.

        Raises:
            ConceptError: the file holds no name.
        """
        if not self.name_path.is_file():
            return None
        content = read_whole(self.name_path, what="the site's name", max_bytes=1024)
        return checked_name(content.decode(errors="replace").strip(), "site")

    def set_name(self, name: str) -> None:
        """Keep the site's name.

        Raises:
            ConceptError: it is not a name.
            StorageError: it cannot be written.
        """
        write_atomically(self.name_path, checked_name(name, "site").encode() + b"\n")

    @property
    def signing_key_path(self) -> Path:
        """The site's private key, PEM."""
        return self.folder / "site.key"

    @property
    def next_key_path(self) -> Path:
        """The private key that is to take the present one's place, PEM."""
        return self.folder / "site.key.next"

    @property
    def old_keys_path(self) -> Path:
        """Public keys of this site that came before, hexadecimal digits."""
        return self.folder / "old-keys"

    @property
    def newest_path(self) -> Path:
        """Which release is the newest, as the centre last stated; not secret."""
        return self.folder / "newest-release"

    @property
    def centre_keys_path(self) -> Path:
        """Public keys of the centre, hexadecimal digits, the present one last."""
        return self.folder / "centre-keys"

    @property
    def policy_path(self) -> Path:
        """What the centre may ask for."""
        return self.folder / "policy.toml"

    @property
    def requests(self) -> Path:
        """Statements that wait for the centre."""
        return self.folder / "requests"

    @property
    def calls(self) -> Path:
        """The centre's calls that were acted on, an empty file each."""
        return self.folder / "calls"

    @property
    def withdrawn(self) -> Path:
        """Bundles that this site took back."""
        return self.folder / "withdrawn"

    @property
    def joining_lock(self) -> Path:
        """Held by `mos-client join`, so that no second one joins from here."""
        return self.folder / "joining.lock"

    @property
    def node_key_path(self) -> Path:
        """The SuperNode's private key, OpenSSH form."""
        return self.folder / "node.key"

    @property
    def node_public_path(self) -> Path:
        """The SuperNode's public key, OpenSSH form."""
        return self.folder / "node.pub"

    @property
    def name_path(self) -> Path:
        """The site's name, one line."""
        return self.folder / "name"

    @property
    def counter_path(self) -> Path:
        """The highest counter ever signed, one decimal number."""
        return self.folder / "counter"

    @property
    def request_path(self) -> Path:
        """The request for admission that `enroll` wrote last."""
        return self.folder / "request"

    @property
    def welcome_path(self) -> Path:
        """The centre's welcome, as it came."""
        return self.folder / "welcome"

    @property
    def outbox(self) -> Path:
        """Bundles that wait."""
        return self.folder / "outbox"

    @property
    def refused(self) -> Path:
        """Bundles that the centre refused."""
        return self.outbox / "refused"

    @property
    def sent(self) -> Path:
        """Bundles that the centre accepted."""
        return self.folder / "sent"

    @property
    def releases(self) -> Path:
        """Releases received, `0001.safetensors` with `.sig` beside it, and so on."""
        return self.folder / "releases"

    @property
    def flower(self) -> Path:
        """Flower's own state; may be deleted while nothing runs."""
        return self.folder / "flower"

    @property
    def studio(self) -> Path:
        """What `mos-client studio` keeps; nothing else reads it."""
        return self.folder / "studio"

    def _complete(self) -> bool:
        keys = (self.signing_key_path, self.node_key_path, self.node_public_path)
        return all(path.is_file() for path in keys)

    def _make_keys(self) -> None:
        if not self.signing_key_path.is_file():
            save_key(self.signing_key_path, SigningKey.generate())
        if self.node_key_path.is_file() and self.node_public_path.is_file():
            return
        node = ec.generate_private_key(ec.SECP384R1())
        private = node.private_bytes(
            Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
        )
        public = node.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        write_atomically(self.node_key_path, private, mode=0o600)
        write_atomically(self.node_public_path, public + b"\n")


def read_keys(path: Path) -> tuple[VerifyKey, ...]:
    """The public keys in a file, one a line; none where there is no file.

    Raises:
        StoreError: a line is no key.
    """
    if not path.is_file():
        return ()
    content = read_whole(path, what="public keys", max_bytes=64 * 2**10)
    try:
        return tuple(
            VerifyKey.from_raw(bytes.fromhex(line))
            for line in content.decode("ascii").split()
        )
    except (ValueError, MalformedError) as error:
        raise StoreError(
            f"{path}: a line is not a public key of 64 hexadecimal digits; restore the "
            "file from a copy"
        ) from error


def write_keys(path: Path, keys: Iterable[VerifyKey]) -> None:
    """Write public keys, one a line, each once.

    Raises:
        StorageError: it cannot be written.
    """
    lines = dict.fromkeys(key.raw.hex() for key in keys)
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode())


def name_of_this_machine() -> str:
    """A site name from the machine's, for a site that has not enrolled yet."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", platform.node().split(".")[0].lower())
    return plain.strip("-_")[:64] or "site"
