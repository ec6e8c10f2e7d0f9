"""Orders to tune: what sites are to be asked, and what they answered."""

from sqlalchemy import select

from mos_model.concepts.names import checked_name
from mos_server.errors import RegistryError
from mos_server.registry.records import TuneOrder
from mos_server.registry.storage.database import Database
from mos_server.registry.storage.tables import SiteRow, TuneOrderRow


class TuneOrders:
    """The orders of one centre, part of its registry."""

    def __init__(self, database: Database) -> None:
        """Orders in `database`."""
        self._database = database

    def add(
        self,
        site: str,
        concept: str,
        *,
        steps: int = 0,
        rank: int = 0,
        seed: int = 0,
        now: int,
    ) -> TuneOrder:
        """Note that a site is to be asked to tune; `Conversation` asks it.

        Raises:
            RegistryError: there is no such active site, or it has that order already.
        """
        checked_name(concept, "concept")
        with self._database.writing() as session:
            admitted = select(SiteRow).where(SiteRow.name == site, ~SiteRow.revoked)
            if session.scalars(admitted).first() is None:
                raise RegistryError(
                    f"site {site!r}: no active site of that name; `mos-server sites` "
                    "lists them"
                )
            same = select(TuneOrderRow).where(
                TuneOrderRow.site == site,
                TuneOrderRow.concept == concept,
                TuneOrderRow.answered == 0,
            )
            if session.scalars(same).first() is not None:
                raise RegistryError(
                    f"{site}/{concept}: ordered already, and not answered yet"
                )
            row = TuneOrderRow(
                site=site,
                concept=concept,
                steps=steps,
                rank=rank,
                seed=seed,
                ordered=now,
                answered=0,
                error="",
            )
            session.add(row)
            session.flush()
            return _order(row)

    def all(self, *, waiting: bool = False) -> tuple[TuneOrder, ...]:
        """Every order there ever was, or that is not answered yet; oldest first."""
        query = select(TuneOrderRow).order_by(TuneOrderRow.number)
        if waiting:
            query = query.where(TuneOrderRow.answered == 0)
        with self._database.reading() as session:
            return tuple(map(_order, session.scalars(query)))

    def answer(self, number: int, error: str, *, now: int) -> None:
        """Note what came of an order; `error` is "" where something was tuned."""
        with self._database.writing() as session:
            row = session.get(TuneOrderRow, number)
            if row is not None:
                row.answered, row.error = now, error

    def postpone(self, number: int, reason: str) -> bool:
        """Note why a site will not tune now; the order stands. Whether that is news."""
        with self._database.writing() as session:
            row = session.get(TuneOrderRow, number)
            news = row is not None and row.error != reason
            if row is not None:
                row.error = reason
            return news


def _order(row: TuneOrderRow) -> TuneOrder:
    return TuneOrder(
        number=row.number,
        site=row.site,
        concept=row.concept,
        steps=row.steps,
        rank=row.rank,
        seed=row.seed,
        ordered=row.ordered,
        answered=row.answered,
        error=row.error,
    )
