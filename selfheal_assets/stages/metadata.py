"""Turn frames and values into what the Dagster UI shows. Never computes a result."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.evidence import Evidence, Status

if TYPE_CHECKING:
    import dagster as dg
    import pandas as pd

MAX_ROWS = 50


def _cell(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | bool | int):
        return value if not isinstance(value, str) else value[:200]
    if isinstance(value, float):
        return round(value, 6) if isfinite(value) else str(value)
    if hasattr(value, "item"):
        return _cell(value.item())
    return str(value)[:200]


def table(rows: "pd.DataFrame | Sequence[Mapping[str, Any]]") -> "dg.MetadataValue":
    """An inline table of at most 50 rows; an empty one says so as text."""
    import dagster as dg

    shown = rows[:MAX_ROWS] if isinstance(rows, Sequence) else rows.head(MAX_ROWS).to_dict("records")
    if not shown:
        return dg.MetadataValue.text("no rows")
    records = [dg.TableRecord({str(name): _cell(value) for name, value in row.items()}) for row in shown]
    return dg.MetadataValue.table(records, schema=_schema(records))


def _schema(records: "Sequence[dg.TableRecord]") -> "dg.TableSchema":
    import dagster as dg

    kinds = {bool: "bool", int: "int", float: "float"}
    columns = []
    for name in records[0].data:
        seen = {type(record.data.get(name)) for record in records} - {type(None)}
        columns.append(dg.TableColumn(name, kinds.get(seen.pop(), "string") if len(seen) == 1 else "string"))
    return dg.TableSchema(columns)


def number(value: float | None) -> "dg.MetadataValue":
    """A figure that the UI plots over time; text where there is none, so that nothing is drawn as zero."""
    import dagster as dg

    if value is None or not isfinite(value):
        return dg.MetadataValue.text("unknown")
    return dg.MetadataValue.float(float(value))


def summary(evidence: Evidence) -> dict[str, Any]:
    """What every report of one measurement says first."""
    import dagster as dg

    return {
        "status": dg.MetadataValue.text(str(evidence.status)),
        "reason": dg.MetadataValue.text(evidence.reason),
        str(evidence.signal): number(evidence.value),
        "threshold": number(evidence.threshold),
        "rows": dg.MetadataValue.int(evidence.sample_size),
        "champion_version": dg.MetadataValue.text(str(evidence.champion_version)),
        "raised": dg.MetadataValue.bool(evidence.status is Status.RAISED),
    }
