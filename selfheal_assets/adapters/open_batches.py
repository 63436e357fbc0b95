"""Follow which batches of a ledger are open: what was written since the last look in; their ids out. Never writes."""

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from selfheal_assets.adapters.ledger_tables import tables
from selfheal_assets.core.record import OPENING, RecordKind

if TYPE_CHECKING:
    from sqlalchemy import Connection, FromClause, Select

KINDS = (*OPENING, RecordKind.BATCH_CLOSED)


@dataclass
class _Followed:
    """Of one model, up to a place in the ledger."""

    sequence: int
    hash: str | None
    """The chain's, at that place."""
    open: dict[str, None] = field(default_factory=dict)


class OpenBatches:
    """A process asks the whole past of a model once, and from then on only what was written since.

    Records are written one transaction after another, numbered without gaps, and never changed: what was read of them
    stays so. A ledger that was put back to an earlier copy has another hash at that place, or none, and is read anew.
    """

    def __init__(self) -> None:
        self._models: dict[str, _Followed] = {}
        self._turn = Lock()

    def of(self, connection: "Connection", model: str, until: int) -> list[str]:
        """As of record `until`, in no order."""
        with self._turn:
            known = self._models.get(model)
            if known is None or known.sequence > until or _hash(connection, known.sequence) != known.hash:
                found = [row.subject for row in connection.execute(still_open(tables().records, model, until))]
                known = self._models[model] = _Followed(until, _hash(connection, until), dict.fromkeys(found))
            elif known.sequence < until:
                _follow(connection, model, known, until)
            return list(known.open)


def _follow(connection: "Connection", model: str, known: _Followed, until: int) -> None:
    import sqlalchemy as sa

    columns = tables().records.c
    written = (
        sa.select(columns.kind, columns.subject)
        .where(columns.model == model, columns.kind.in_(KINDS))
        .where(columns.sequence > known.sequence, columns.sequence <= until)
        .order_by(columns.sequence)
    )
    for kind, subject in connection.execute(written):
        if kind == RecordKind.BATCH_CLOSED:
            known.open.pop(subject, None)
        else:
            known.open[subject] = None
    known.sequence, known.hash = until, _hash(connection, until)


def _hash(connection: "Connection", sequence: int) -> str | None:
    import sqlalchemy as sa

    columns = tables().records.c
    return connection.scalar(sa.select(columns.hash).where(columns.sequence == sequence))


def still_open(records: "FromClause", model: str, until: int) -> "Select[tuple[str]]":
    """The subjects that were opened and not closed since, read from the whole past of the model."""
    import sqlalchemy as sa

    opened, closed = records.alias("opened").c, records.alias("closed").c
    later = sa.exists().where(
        closed.model == opened.model,
        closed.kind == RecordKind.BATCH_CLOSED,
        closed.subject == opened.subject,
        closed.sequence > opened.sequence,
        closed.sequence <= until,
    )
    return sa.select(opened.subject).where(
        opened.model == model, opened.kind.in_(OPENING), opened.sequence <= until, ~later
    )
