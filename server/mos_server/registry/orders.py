"""Orders to tune: what sites are to be asked, and what they answered."""

from sqlalchemy import select

from mos_model.names import checked_name
from mos_server.errors import RegistryError
from mos_server.registry.database import Database
from mos_server.registry.records import TuneOrder
from mos_server.registry.tables import SiteRow, TuneOrderRow


class TuneOrders:
    """The orders of one centre, part of its registry."""

    def __init__(self, database: Database) -> None:
        """Orders in `database`."""
        self._database = database

    def add(
        self, site: str, concept: str, steps: int, rank: int, seed: int, now: int
    ) -> TuneOrder:
        """See `Registry.order_tuning`."""
        checked_name(concept, "concept")
        with self._database.writing() as session:
            admitted = select(SiteRow).where(SiteRow.name == site, ~SiteRow.revoked)
            if session.scalars(admitted).first() is None:
                raise RegistryError(
                    f"site {site!r}: none of that name stands admitted; "
                    "`mos-server sites` lists them"
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

    def all(self, *, waiting: bool) -> tuple[TuneOrder, ...]:
        """See `Registry.tune_orders`."""
        query = select(TuneOrderRow).order_by(TuneOrderRow.number)
        if waiting:
            query = query.where(TuneOrderRow.answered == 0)
        with self._database.reading() as session:
            return tuple(map(_order, session.scalars(query)))

    def answer(self, number: int, error: str, now: int) -> None:
        """See `Registry.answer_order`."""
        with self._database.writing() as session:
            row = session.get(TuneOrderRow, number)
            if row is not None:
                row.answered, row.error = now, error

    def postpone(self, number: int, reason: str) -> bool:
        """See `Registry.postpone_order`."""
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
