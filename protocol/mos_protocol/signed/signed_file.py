"""A safetensors file and the envelope that was signed over its manifest."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from mos_protocol.encoding.canonical import sha256
from mos_protocol.signed import blob
from mos_protocol.signed.envelope import Sealed, open_envelope

Kind = TypeVar("Kind", bound="SignedFile")


@dataclass(frozen=True)
class SignedFile:
    """What a bundle and a release have in common."""

    envelope: bytes
    payload: bytes
    """A safetensors file."""

    MAGIC: ClassVar[bytes]
    """What its blob begins with."""

    WHAT: ClassVar[str]
    """For messages: "a bundle"."""

    MAX_BYTES: ClassVar[int]
    """Size of the largest, where nothing else is asked for."""

    ENDORSED: ClassVar[bool] = False
    """Whether earlier keys may stand in the envelope (`succession`)."""

    def sealed(self) -> Sealed:
        """The envelope taken apart, not verified.

        Raises:
            MalformedError: it is not an envelope.
        """
        return open_envelope(self.envelope, endorsed=self.ENDORSED)

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, 64 hexadecimal digits: its identity.

        Raises:
            MalformedError: the envelope is not one.
        """
        return sha256(self.sealed().payload)

    def to_bytes(self) -> bytes:
        """One blob, as it crosses the wire."""
        return blob.join(self.MAGIC, self.envelope, self.payload)

    @classmethod
    def from_bytes(
        cls: type[Kind], content: bytes, *, max_bytes: int | None = None
    ) -> Kind:
        """What `to_bytes` gave, not verified.

        Args:
            content: The blob.
            max_bytes: Size of the largest that is taken apart; the kind's own bound
                where None.

        Raises:
            MalformedError: too large, or not such a blob.
        """
        most = cls.MAX_BYTES if max_bytes is None else max_bytes
        return cls(*blob.split(content, cls.MAGIC, what=cls.WHAT, max_bytes=most))

    def write(self, path: Path) -> None:
        """Write `path` (NAME.safetensors) and NAME.safetensors.sig next to it.

        Raises:
            StorageError: a file cannot be written.
        """
        blob.write_pair(path, self.envelope, self.payload)

    @classmethod
    def read(cls: type[Kind], path: Path, *, max_bytes: int | None = None) -> Kind:
        """What `write` wrote, not verified.

        Raises:
            StorageError: a file is missing, too large, or cannot be read.
        """
        most = cls.MAX_BYTES if max_bytes is None else max_bytes
        return cls(*blob.read_pair(path, what=cls.WHAT, max_bytes=most))
