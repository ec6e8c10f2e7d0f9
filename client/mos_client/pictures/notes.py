"""What is said of a file in a folder of pictures."""

from dataclasses import asdict, dataclass
from unicodedata import category


@dataclass(frozen=True)
class FileNote:
    """One line on one file."""

    file: str
    """Its name in the folder."""

    reason: str
    """What is wrong or remarkable, and the way out."""

    def __str__(self) -> str:
        """`name: reason`, safe on a terminal."""
        return plain(f"{self.file}: {self.reason}")

    def to_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return asdict(self)


def plain(text: str) -> str:
    """`text` as one line without control characters; runs of blanks become one."""
    kept = (" " if category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)
    return " ".join("".join(kept).split())
