"""The registry's tables, typed."""

from typing import Final

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA_VERSION: Final = 1


class Table(DeclarativeBase):
    """What all tables share."""


class SiteRow(Table):
    """A site's key, admitted once; a revoked one is kept for ever."""

    __tablename__ = "sites"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    key: Mapped[bytes]
    node_key: Mapped[bytes]
    revoked: Mapped[bool] = mapped_column(default=False)
    counter: Mapped[int] = mapped_column(default=0)
    admitted: Mapped[int]


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
    site: Mapped[SiteRow] = relationship(lazy="joined")


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
