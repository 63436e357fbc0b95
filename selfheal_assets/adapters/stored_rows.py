"""Read a Parquet file's rows by columns or by parts, and write one from parts. Never holds a large file whole."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from selfheal_assets.adapters.freed_memory import give_back
from selfheal_assets.core.errors import BatchError
from selfheal_assets.ports import batch_rows

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Adding = Callable[["pd.DataFrame"], None]


class StoredRows:
    """`BatchRows` of one Parquet file of the batch store."""

    def __init__(self, path: Path) -> None:
        from pyarrow import parquet

        self.path = path
        with parquet.ParquetFile(path) as file:
            self._columns = list(file.schema_arrow.names)
            self._groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        self.missing: tuple[str, ...] = ()
        """Columns that are not in the file."""

    @property
    def columns(self) -> list[str]:
        return list(self._columns)

    def __len__(self) -> int:
        return sum(self._groups)

    def select(self, columns: Sequence[str], missing: Sequence[str] = ()) -> "StoredRows":
        chosen = copy(self)
        chosen._columns, chosen.missing = [*columns, *missing], (*self.missing, *missing)
        return chosen

    def frame(self, columns: Sequence[str] | None = None, *, arrow_texts: bool = False) -> "pd.DataFrame":
        import pandas as pd
        import pyarrow as pa
        from pyarrow import parquet

        stored = self._stored(columns)
        if not stored:
            return self._shaped(pd.DataFrame(index=pd.RangeIndex(len(self))), columns)
        if not arrow_texts:
            return self._shaped(pd.read_parquet(self.path, columns=stored), columns)
        texts = pd.ArrowDtype(pa.string())
        table = parquet.read_table(self.path, columns=stored)
        mapped = table.to_pandas(types_mapper=lambda kind: texts if pa.types.is_string(kind) else None)
        return self._shaped(mapped, columns)

    def parts(self, columns: Sequence[str] | None = None) -> "Iterator[pd.DataFrame]":
        import pyarrow as pa
        from pyarrow import parquet

        if len(self) <= batch_rows.PART_ROWS:
            yield self.frame(columns)
            return
        with parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_rows.PART_ROWS, columns=self._stored(columns)):
                yield self._shaped(pa.Table.from_batches([batch]).to_pandas(), columns)

    def at(self, positions: "np.ndarray", columns: Sequence[str] | None = None) -> "pd.DataFrame":
        import numpy as np
        import pyarrow as pa
        from pyarrow import parquet

        order = np.argsort(positions, kind="stable")
        ordered, found, begin = positions[order], [], 0
        with parquet.ParquetFile(self.path) as file:
            for group, rows in enumerate(self._groups):
                here = ordered[(ordered >= begin) & (ordered < begin + rows)] - begin
                if len(here):
                    found.append(file.read_row_group(group, columns=self._stored(columns)).take(here))
                begin += rows
        if not found:
            return self.frame(columns).iloc[:0]
        back = np.empty(len(order), dtype=np.intp)
        back[order] = np.arange(len(order))
        return self._shaped(pa.concat_tables(found).take(back).to_pandas(), columns)

    def _stored(self, columns: Sequence[str] | None) -> list[str]:
        return [name for name in (self._columns if columns is None else columns) if name not in self.missing]

    def _shaped(self, frame: "pd.DataFrame", columns: Sequence[str] | None) -> "pd.DataFrame":
        """The columns asked, in that order: beside those of the file the ones that are missing."""
        wanted = self._columns if columns is None else list(columns)
        if list(frame.columns) == wanted:
            return frame
        return frame.assign(**{name: float("nan") for name in wanted if name in self.missing})[wanted]


@contextmanager
def from_parts(draft: Path) -> Iterator[Adding]:
    """Yields what takes the frames in order; when all are in, `draft` is the file of them all, as if they were one.

    A column has the type that the whole would have: a part's whole numbers become floats where another part lacks one.
    """
    first: list[pd.DataFrame] = []
    with TemporaryDirectory(prefix=".parts-", dir=draft.parent) as folder:
        kept: list[Path] = []

        def keep(frame: "pd.DataFrame") -> None:
            kept.append(Path(folder) / f"{len(kept)}.part")
            write_parquet(frame, kept[-1])
            give_back()

        def add(frame: "pd.DataFrame") -> None:
            if not kept and not first:
                first.append(frame)
                return
            if first:
                keep(first.pop())
            keep(frame)

        yield add
        if first:
            write_parquet(first.pop(), draft)
        else:
            _joined(kept, draft)


def _joined(parts: Sequence[Path], draft: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schemas = [parquet.read_schema(part).remove_metadata() for part in parts]
    try:
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        with parquet.ParquetWriter(draft, schema) as writer:
            for part in parts:
                writer.write_table(parquet.read_table(part).replace_schema_metadata(None).cast(schema))
                part.unlink()
        give_back()
    except pa.ArrowException as error:
        raise BatchError(
            f"The parts of a batch must have the same columns and types; received: "
            f"{' '.join(str(error).split())[:300]}. Land the rows in smaller files."
        ) from error


def write_parquet(frame: "pd.DataFrame", draft: Path) -> None:
    """Without the index, and with times in microseconds."""
    frame.to_parquet(draft, index=False, coerce_timestamps="us", allow_truncated_timestamps=True)
