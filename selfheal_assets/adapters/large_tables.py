"""Read a large landed file a column at a time: parts of the same typed table out. Never decides whether it is good."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from selfheal_assets.adapters.tables import cast_column, open_texts, read_table, readable, require_distinct
from selfheal_assets.ports import batch_rows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def read_parts(path: Path, types: Mapping[str, str], scratch: Path) -> "Iterator[pd.DataFrame]":
    """The table of `read_table`, whole where it is small, else by parts; `scratch`: a folder for what is in between.

    Whether a column parses as its declared type is a fact of all its values: each column is read and typed whole, put
    aside, and the parts are put together from those. Raises UnreadableFileError before the first part.
    """
    if not _is_large(path):
        yield read_table(path, types)
        return
    with TemporaryDirectory(prefix=".columns-", dir=scratch) as folder:
        names = _put_aside(path, types, Path(folder))
        rows = _rows(Path(folder) / "0")
        for part in range(-(-rows // batch_rows.PART_ROWS)):
            yield _part(Path(folder), names, part)


def _is_large(path: Path) -> bool:
    """By the rows that it says it has, or by its lines; of what cannot be read, `read_table` says why."""
    if path.suffix.lower() == ".csv":
        with readable(path), path.open("rb") as stream:
            return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b"")) > batch_rows.PART_ROWS
    if path.suffix.lower() != ".parquet":
        return False
    with readable(path):
        return _rows(path) > batch_rows.PART_ROWS


def _rows(path: Path) -> int:
    from pyarrow import parquet

    with path.open("rb") as stream:
        return int(parquet.read_metadata(stream).num_rows)


def _put_aside(path: Path, types: Mapping[str, str], folder: Path) -> list[str]:
    """Every column typed, as a Parquet file by its place in the table; the names in order."""
    from pyarrow import parquet

    source = _as_parquet(path, folder / "texts") if path.suffix.lower() == ".csv" else path
    with source.open("rb") as stream, parquet.ParquetFile(stream) as file:
        names = list(file.schema_arrow.names)
        with readable(path):
            require_distinct(names)
        for place, name in enumerate(names):
            # What goes wrong with the disk says nothing of the file: only the reading is inside.
            with readable(path):
                # A name is also the beginning of nested ones: more columns than that one may come.
                column = cast_column(file.read(columns=[name]).column(name), types.get(name, ""))
            _write_column(column, folder / str(place))
    return names


def _write_column(column: "pa.ChunkedArray", target: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"column": column})
    with parquet.ParquetWriter(target, table.schema, compression="lz4") as writer:
        for start in range(0, table.num_rows, batch_rows.PART_ROWS):
            writer.write_table(table.slice(start, batch_rows.PART_ROWS), row_group_size=batch_rows.PART_ROWS)


def _as_parquet(path: Path, target: Path) -> Path:
    """A CSV's texts, block after block."""
    from pyarrow import parquet

    with ExitStack() as opened:
        with readable(path):
            reader = opened.enter_context(open_texts(path))
        writer = opened.enter_context(parquet.ParquetWriter(target, reader.schema, compression="lz4"))
        while True:
            with readable(path):
                block = next(reader, None)
            if block is None:
                return target
            writer.write_batch(block)


def _part(folder: Path, names: list[str], part: int) -> "pd.DataFrame":
    import pyarrow as pa
    from pyarrow import parquet

    columns = []
    for place in range(len(names)):
        with parquet.ParquetFile(folder / str(place)) as file:
            columns.append(file.read_row_group(part).column(0))
    frame: pd.DataFrame = pa.table(columns, names=names).to_pandas()
    return frame
