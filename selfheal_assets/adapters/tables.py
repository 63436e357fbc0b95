"""Read a landed CSV or Parquet file into a typed table without losing a value. Never decides whether it is good."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from selfheal_assets.core.errors import UnreadableFile

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SUFFIXES = (".csv", ".parquet")


def read_table(path: Path, types: Mapping[str, str]) -> "pd.DataFrame":
    """The file's rows, every column kept. `types` are the declared ones: string, float, integer, boolean, timestamp.

    A column that does not parse as its declared type stays text as it came; the checks say so later.
    Raises UnreadableFile when the bytes are not a table.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if path.suffix.lower() == ".csv":
            options = csv.ConvertOptions(
                column_types=dict.fromkeys(_header(path), pa.string()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            )
            table = csv.read_csv(path, convert_options=options)
        elif path.suffix.lower() == ".parquet":
            table = parquet.ParquetFile(path).read()
        else:
            raise UnreadableFile(f"A batch must be one of {SUFFIXES}; received {path.name!r}. Convert the file.")
    except (pa.ArrowException, UnicodeDecodeError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UnreadableFile(
            f"A landed file must be a readable {path.suffix or 'table'}; received {path.name!r}: {reason}. "
            "Repair the file and release it, or discard it."
        ) from error
    if len(set(table.column_names)) < table.num_columns:
        raise UnreadableFile(
            f"Column names must not repeat; received {table.column_names} in {path.name!r}. Rename the columns."
        )
    return _typed(table, types).to_pandas()


def _header(path: Path) -> list[str]:
    from pyarrow import csv

    with csv.open_csv(path) as reader:
        return list(reader.schema.names)


def _typed(table: "pa.Table", types: Mapping[str, str]) -> "pa.Table":
    for position, name in enumerate(table.column_names):
        column = _cast(table.column(position), types.get(name, ""))
        table = table.set_column(position, name, column)
    return table.replace_schema_metadata(None)


def _cast(column: "pa.ChunkedArray", declared: str) -> "pa.ChunkedArray":
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        return _microseconds(column)
    try:
        if declared == "timestamp" and pa.types.is_string(column.type):
            return _parsed_timestamps(column)
        if declared == "float":
            return compute.cast(column, pa.float64())
        if declared == "integer" and pa.types.is_string(column.type):
            return compute.cast(column, pa.int64())
        if declared == "boolean" and pa.types.is_string(column.type):
            return compute.cast(column, pa.bool_())
    except pa.ArrowException:
        return column
    return column


def _microseconds(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow as pa
    from pyarrow import compute

    if column.type.tz is None:
        column = compute.assume_timezone(column, "UTC")
    return compute.cast(column, pa.timestamp("us", "UTC"), safe=False)


def _parsed_timestamps(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow as pa
    from pyarrow import compute

    try:
        return compute.cast(column, pa.timestamp("us", "UTC"))
    except pa.ArrowException:
        return _microseconds(compute.cast(column, pa.timestamp("us")))


def first_event_time(path: Path, column: str) -> datetime | None:
    """The earliest event time that can be had without reading the file: Parquet statistics, or a CSV's first row."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if path.suffix.lower() == ".parquet":
            source = parquet.ParquetFile(path)
            position = source.schema_arrow.get_field_index(column)
            groups = range(source.metadata.num_row_groups)
            statistics = [source.metadata.row_group(group).column(position).statistics for group in groups]
            value = min(s.min for s in statistics if s is not None and s.has_min_max)
        else:
            with csv.open_csv(path, read_options=csv.ReadOptions(block_size=1 << 16)) as reader:
                value = reader.read_next_batch().column(column)[0].as_py()
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError, StopIteration):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
