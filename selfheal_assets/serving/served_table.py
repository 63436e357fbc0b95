"""Turn logged rows into the Parquet of a landed batch: typed columns, always the same. Never drops a value."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from selfheal_assets.core import served_columns as served
from selfheal_assets.core.errors import ServingError

if TYPE_CHECKING:
    import pyarrow as pa

_ANSWER = {
    served.SCORE: "number",
    served.VERSION: "string",
    served.ARM: "string",
    served.ROLLOUT: "string",
    served.LEVEL: "string",
    served.LATENCY_MS: "number",
    served.CHAMPION_SCORE: "number",
    served.CHALLENGER_SCORE: "number",
}


@dataclass(frozen=True, kw_only=True)
class LoggedColumns:
    """The columns of a served batch; the types are string, number, integer, boolean or timestamp."""

    event_id: str
    event: Mapping[str, str]
    """Column to type, in the order of the file. A column that an event lacks is missing in its row."""
    features: Mapping[str, str]
    """Stored and on-demand features."""

    def __post_init__(self) -> None:
        if unknown := sorted({*self.event.values(), *self.features.values()} - CONVERTERS.keys()):
            raise ServingError(
                f"A logged column must be one of {sorted(CONVERTERS)}; received {unknown}. Correct the column's type."
            )
        if taken := sorted(filter(served.is_reserved, self.event)):
            raise ServingError(
                f"Columns that begin with {served.RESERVED!r} are the prediction log's; received the event columns "
                f"{taken}. Rename them."
            )
        if self.event_id not in self.event:
            raise ServingError(
                f"The event id {self.event_id!r} must be a column of the event; received {sorted(self.event)}. Add it."
            )

    def refuse_unknown(self, event: Mapping[str, Any], features: Mapping[str, Any]) -> None:
        """Raises ServingError for a name that has no column: its value would be lost."""
        if event.keys() <= self.event.keys() and features.keys() <= self.features.keys():
            return
        unknown = sorted((event.keys() - self.event.keys()) | (features.keys() - self.features.keys()))
        raise ServingError(
            f"Every value of an answered row must have a column in the prediction log; received {unknown}. "
            "Declare them in `serving.context`, or correct the caller."
        )

    def first_of_each(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows without later ones of the same event: a client that retries may be answered twice."""
        first = dict[Any, dict[str, Any]]()
        for place, row in enumerate(rows):
            event_id = row["event"].get(self.event_id)
            first.setdefault(("missing", place) if event_id is None else event_id, row)
        return list(first.values())

    def parquet(self, rows: Sequence[dict[str, Any]]) -> bytes:
        """The file: event columns, then the answer's, then the features as they were used."""
        import pyarrow as pa
        from pyarrow import parquet

        columns = {name: _column([r["event"].get(name) for r in rows], kind) for name, kind in self.event.items()}
        for name, kind in _ANSWER.items():
            columns[name] = _column([row.get(name.removeprefix(served.RESERVED)) for row in rows], kind)
        for name, kind in self.features.items():
            columns[served.FEATURE + name] = _column([row["features"].get(name) for row in rows], kind)
        sink = pa.BufferOutputStream()
        parquet.write_table(pa.table(columns), sink)
        return bytes(sink.getvalue().to_pybytes())


def _column(values: list[Any], kind: str) -> "pa.Array":
    """Typed; as text, whole, when a value is not of the type: the checks say so after it has landed."""
    import pyarrow as pa

    kinds = {
        "string": pa.string(),
        "number": pa.float64(),
        "integer": pa.int64(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", "UTC"),
    }
    convert = CONVERTERS[kind]
    try:
        return pa.array([None if value is None else convert(value) for value in values], kinds[kind])
    except (ValueError, TypeError, OverflowError, pa.ArrowException):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _integer(value: Any) -> int:
    number = int(value)
    if not isinstance(value, str) and number != value:
        raise ValueError(value)
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def _timestamp(value: Any) -> datetime:
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "string": str,
    "number": float,
    "integer": _integer,
    "boolean": _boolean,
    "timestamp": _timestamp,
}
"""From what a line of the log holds to what the column does."""
