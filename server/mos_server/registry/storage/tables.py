"""The registry's tables, typed."""

from typing import Any, ClassVar, Final

from sqlalchemy import BigInteger, ForeignKey, Integer, String, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA_VERSION: Final = 4

MIGRATIONS: Final = {
    1: (
        "ALTER TABLE sites ADD COLUMN kept BOOLEAN NOT NULL DEFAULT 0",
        "ALTER TABLE sites ADD COLUMN successor VARCHAR NOT NULL DEFAULT ''",
        "ALTER TABLE releases ADD COLUMN signer VARCHAR NOT NULL DEFAULT ''",
    ),
    2: ("ALTER TABLE sites ADD COLUMN quota VARCHAR NOT NULL DEFAULT ''",),
    3: ("ALTER TABLE bundles ADD COLUMN exempt BOOLEAN NOT NULL DEFAULT 0",),
}
"""Schema -> what turns its tables into the next's; new tables come by themselves."""


CURRENT: Final = "current"
SUPERSEDED: Final = "superseded"
WITHDRAWN: Final = "withdrawn"
LEFT_OUT: Final = "left-out"
QUARANTINED: Final = "quarantined"
"""States of a bundle."""

STANDING: Final = (CURRENT, QUARANTINED)
"""States of a bundle that its site's next one of the same concept supersedes."""

RELEASED: Final = "released"
"""In place of a reason: the operator let the bundle out of quarantine."""


class _Text(TypeDecorator[str]):
    """Text that may come from strangers, ordered by its code points.

    PostgreSQL takes no NUL, neither database takes half a surrogate pair.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        collation = "C" if dialect.name == "postgresql" else None
        return dialect.type_descriptor(String(collation=collation))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        whole = value.encode("utf-8", "replace").decode("utf-8")
        return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")


class Table(DeclarativeBase):
    """What all tables share: 64-bit numbers, text ordered by its code points."""

    type_annotation_map: ClassVar[dict[type, Any]] = {
        int: BigInteger().with_variant(Integer, "sqlite"),
        str: _Text(),
    }


class SiteRow(Table):
    """A site's key, admitted once; a revoked one is kept for ever."""

    __tablename__ = "sites"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    key: Mapped[bytes]
    node_key: Mapped[bytes]
    revoked: Mapped[bool] = mapped_column(default=False)
    kept: Mapped[bool] = mapped_column(default=False)
    """Revoked, but what it brought is still fused."""

    successor: Mapped[str] = mapped_column(default="")
    """Key id of the same site's next key; "" while this is its newest."""

    counter: Mapped[int] = mapped_column(default=0)
    admitted: Mapped[int]
    quota: Mapped[str] = mapped_column(default="")
    """As `Quota.parse` reads it."""


class BundleRow(Table):
    """A bundle that was accepted at some time."""

    __tablename__ = "bundles"

    digest: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("sites.key_id"), index=True)
    concept: Mapped[str]
    class_word: Mapped[str]
    base: Mapped[str]
    rank: Mapped[int]
    counter: Mapped[int]
    size: Mapped[int]
    blob: Mapped[str]
    received: Mapped[int]
    state: Mapped[str]
    exempt: Mapped[bool] = mapped_column(default=False)
    """Released from quarantine by the operator: the gate does not hold it again."""

    site: Mapped[SiteRow] = relationship(lazy="joined")


class LeftOutRow(Table):
    """An accepted bundle that no release holds: unfusable, or held by the gate."""

    __tablename__ = "left_out"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    digest: Mapped[str] = mapped_column(ForeignKey("bundles.digest"), unique=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("sites.key_id"), index=True)
    reason: Mapped[str]
    text: Mapped[str]
    decided: Mapped[int]
    notified: Mapped[bool] = mapped_column("told", default=False)
    """Whether its site knows."""

    bundle: Mapped[BundleRow] = relationship(lazy="joined")


class WithdrawalRow(Table):
    """A site took a concept of its own back."""

    __tablename__ = "withdrawals"

    digest: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("sites.key_id"), index=True)
    concept: Mapped[str]
    counter: Mapped[int]
    received: Mapped[int]


class RotationRow(Table):
    """A site changed its key, by its old one's signature."""

    __tablename__ = "rotations"

    digest: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("sites.key_id"), index=True)
    successor: Mapped[str]
    counter: Mapped[int]
    received: Mapped[int]


class TuneOrderRow(Table):
    """A site is asked to tune a concept."""

    __tablename__ = "tune_orders"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    site: Mapped[str] = mapped_column(index=True)
    concept: Mapped[str]
    steps: Mapped[int]
    rank: Mapped[int]
    seed: Mapped[int]
    ordered: Mapped[int]
    answered: Mapped[int] = mapped_column(default=0)
    error: Mapped[str] = mapped_column(default="")


class RefusalRow(Table):
    """A bundle that was refused, and why."""

    __tablename__ = "refusals"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    sender: Mapped[str] = mapped_column(index=True)
    digest: Mapped[str]
    content: Mapped[str]
    size: Mapped[int]
    reason: Mapped[str]
    text: Mapped[str]
    received: Mapped[int]


class ReleaseRow(Table):
    """A release that was published."""

    __tablename__ = "releases"

    version: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str]
    base: Mapped[str]
    created: Mapped[int]
    expires: Mapped[int]
    size: Mapped[int]
    signer: Mapped[str] = mapped_column(default="")
    bundles: Mapped[list["ReleasedBundleRow"]] = relationship(lazy="selectin")


class ReleasedBundleRow(Table):
    """A bundle's part in a release."""

    __tablename__ = "released_bundles"

    version: Mapped[int] = mapped_column(
        ForeignKey("releases.version"), primary_key=True
    )
    digest: Mapped[str] = mapped_column(primary_key=True)
    site: Mapped[str]
    concept: Mapped[str]
