"""Read a landed CSV or Parquet file into a typed table without losing a value. Never decides whether it is good."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from selfheal_assets.core.errors import UnreadableFileError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import csv

SUFFIXES = (".csv", ".parquet")
MISSING = ("NA", "N/A", "#N/A", "NULL", "null", "None", "nan", "NaN")
"""How CSV writers spell a missing number or time. In a text it may be a value, as NA is a country."""

_YEAR_1, _YEAR_10000 = -62_135_596_800_000_000, 253_402_300_800_000_000
"""Where the times of Python begin and end, in microseconds since 1970."""


def read_table(path: Path, types: Mapping[str, str]) -> "pd.DataFrame":
    """The file's rows, every column kept. `types` are the declared ones: string, float, integer, boolean, timestamp.

    A column that does not parse as its declared type stays text as it came; the checks say so later.
    Raises UnreadableFileError when the bytes are not a table.
    """
    from pyarrow import parquet

    with readable(path):
        if path.suffix.lower() == ".csv":
            table = _texts(path)
        elif path.suffix.lower() == ".parquet":
            with path.open("rb") as stream:
                table = parquet.ParquetFile(stream).read()
        else:
            raise UnreadableFileError(f"A batch must be one of {SUFFIXES}; received {path.name!r}. Convert the file.")
        require_distinct(table.column_names)
        frame: pd.DataFrame = _typed(table, types).to_pandas()
    return frame


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what is raised over bytes that are no table into UnreadableFileError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError, OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise UnreadableFileError(
            f"A landed file must be a readable {path.suffix or 'table'}; received {path.name!r}: {reason}. "
            "Repair the file and release it, or discard it."
        ) from error


def require_distinct(names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"the column names {names} repeat")


def _texts(path: Path) -> "pa.Table":
    """A CSV's columns as the texts that they are; only what is empty is missing."""
    from pyarrow import csv

    options = _as_texts(path)
    # Opened by Python: a name that is not UTF-8 is a name too.
    with path.open("rb") as stream:
        return csv.read_csv(stream, parse_options=_parsing(), convert_options=options)


@contextmanager
def open_texts(path: Path) -> "Iterator[csv.CSVStreamingReader]":
    """The same, block after block."""
    from pyarrow import csv

    options = _as_texts(path)
    with (
        path.open("rb") as stream,
        csv.open_csv(stream, parse_options=_parsing(), convert_options=options) as reader,
    ):
        yield reader


def _parsing() -> "csv.ParseOptions":
    from pyarrow import csv

    return csv.ParseOptions(newlines_in_values=True)


def _as_texts(path: Path) -> "csv.ConvertOptions":
    import pyarrow as pa
    from pyarrow import csv

    with path.open("rb") as stream, csv.open_csv(stream, parse_options=_parsing()) as reader:
        names = list(reader.schema.names)
    return csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )


def _typed(table: "pa.Table", types: Mapping[str, str]) -> "pa.Table":
    for position, name in enumerate(table.column_names):
        column = cast_column(table.column(position), types.get(name, ""))
        table = table.set_column(position, name, column)
    return table.replace_schema_metadata(None)


def cast_column(column: "pa.ChunkedArray", declared: str) -> "pa.ChunkedArray":
    """A whole column as its declared type, or as the text that it came as; see `read_table`."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    if pa.types.is_timestamp(column.type):
        return _microseconds(column)
    try:
        typed = _declared(column, declared)
    except pa.ArrowException:
        return column
    # pandas makes whole numbers with a missing one floats, which have 53 bits: such a column stays, or becomes, text.
    if pa.types.is_integer(typed.type) and typed.null_count and not _fits_a_float(typed):
        return column.cast(pa.string())
    return typed


def _declared(column: "pa.ChunkedArray", declared: str) -> "pa.ChunkedArray":
    """The column as the declared type; as it is where it is not text and says itself what it is."""
    import pyarrow as pa
    from pyarrow import compute

    target = {"float": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_(), "timestamp": None}
    if declared not in target:
        return column
    if pa.types.is_string(column.type):
        present = compute.if_else(compute.is_in(column, pa.array(MISSING)), pa.scalar(None, pa.string()), column)
        return _parsed_timestamps(present) if declared == "timestamp" else _parsed(present, target[declared])
    if declared == "timestamp" and pa.types.is_date(column.type):
        return _microseconds(compute.cast(column, pa.timestamp("us")))
    return compute.cast(column, pa.float64()) if declared == "float" and _is_number(column.type) else column


def _is_number(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _fits_a_float(column: "pa.ChunkedArray") -> bool:
    from pyarrow import compute

    found = compute.min_max(column).as_py()
    return found["min"] is None or -(2**53) <= found["min"] <= found["max"] <= 2**53


def _parsed(column: "pa.ChunkedArray", target: "pa.DataType") -> "pa.ChunkedArray":
    """Texts as numbers; whole numbers may be written with a point, as pandas does where one of them is missing."""
    import pyarrow as pa
    from pyarrow import compute

    try:
        return compute.cast(column, target)
    except pa.ArrowException:
        if target != pa.int64():
            raise
        return compute.cast(compute.cast(column, pa.float64()), target)


def _microseconds(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow as pa
    from pyarrow import compute

    if column.type.tz is None:
        column = compute.assume_timezone(column, "UTC")
    # Finer than a microsecond is cut; what no microsecond can say is refused.
    options = compute.CastOptions(target_type=pa.timestamp("us", "UTC"), allow_time_truncate=True)
    times = compute.cast(column, options=options)
    found = compute.min_max(compute.cast(times, pa.int64())).as_py()
    if found["min"] is not None and not _YEAR_1 <= found["min"] <= found["max"] < _YEAR_10000:
        raise ValueError(f"times must lie in the years 1 to 9999; received {found} microseconds since 1970")
    return times


def _parsed_timestamps(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow as pa
    from pyarrow import compute

    for kind in (pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.timestamp("ns", "UTC")):
        try:
            return _microseconds(compute.cast(column, kind))
        except pa.ArrowException:
            continue
    return _microseconds(compute.cast(column, pa.timestamp("ns")))


def first_event_time(path: Path, column: str) -> datetime | None:
    """The earliest event time that can be had without reading the file: Parquet statistics, or a CSV's first row."""
    import pyarrow as pa

    try:
        with path.open("rb") as stream:
            value = _earliest(stream, column) if path.suffix.lower() == ".parquet" else _first(stream, column)
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError, OverflowError, StopIteration):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _earliest(stream: BinaryIO, column: str) -> Any:
    from pyarrow import parquet

    metadata = parquet.read_metadata(stream)
    # By the leaves, of which a nested column has several.
    position = [metadata.schema.column(leaf).path for leaf in range(metadata.num_columns)].index(column)
    groups = range(metadata.num_row_groups)
    statistics = [metadata.row_group(group).column(position).statistics for group in groups]
    return min(s.min for s in statistics if s is not None and s.has_min_max)


def _first(stream: BinaryIO, column: str) -> Any:
    from pyarrow import csv

    with csv.open_csv(stream, read_options=csv.ReadOptions(block_size=1 << 16)) as reader:
        return reader.read_next_batch().column(column)[0].as_py()
