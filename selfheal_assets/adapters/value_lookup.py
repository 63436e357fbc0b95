"""Look values up in a column of many Parquet files: values in, which of them stand there out. Never reads the rest."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from selfheal_assets.core.errors import BatchError

if TYPE_CHECKING:
    import pandas as pd

FLOATING = ("FLOAT", "DOUBLE")


def stands_in(files: Sequence[Path], column: str, values: "pd.Series") -> "pd.Series":
    """Boolean, in the order and with the index of `values`; False for a missing value.

    Values are compared as text. Whole numbers are the same whether they are kept as integers or, as pandas does beside
    a missing one, as floats. A column that no file has holds nothing.
    """
    import numpy as np
    import pandas as pd

    codes, distinct = pd.factorize(values)
    texts = [_text(value) for value in distinct.tolist()]
    found = _found(files, column, texts) if files and texts else set()
    # A missing value has the code -1: the last flag.
    flags = np.array([*(text in found for text in texts), False])
    return pd.Series(flags[codes], index=values.index)


def as_text(values: "pd.Series") -> "pd.Series":
    """The values as the texts by which they are compared here; None where one is missing."""
    import numpy as np
    import pandas as pd

    codes, distinct = pd.factorize(values)
    # A missing value has the code -1: the last one.
    texts = np.array([*(_text(value) for value in distinct.tolist()), None], dtype=object)
    return pd.Series(texts[codes], index=values.index, dtype=object)


def holders_of(files: Mapping[str, Path], column: str, texts: "pd.Series") -> "pd.DataFrame":
    """Which of the named files have which of the texts in the column. Columns: value, holder; each pair once.

    Raises BatchError when a file cannot be read.
    """
    import duckdb
    import pandas as pd

    nothing = pd.DataFrame({"value": [], "holder": []}, dtype="object")
    if not files or texts.empty:
        return nothing
    names = {str(path): name for name, path in files.items()}
    try:
        with duckdb.connect() as database:
            kept = database.read_parquet(list(names), union_by_name=True, filename=True)
            if column not in kept.columns:
                return nothing
            database.register("wanted", pd.DataFrame({"value": texts.unique()}, dtype="object"))
            kept.create_view("kept")
            text = _text_in_sql(column, str(kept.types[kept.columns.index(column)]))
            query = f"select distinct value, filename as holder from kept join wanted on value = {text}"
            found = database.execute(query).df()
    except duckdb.Error as error:
        raise BatchError(
            f"The clean rows of a batch must be readable Parquet; received: {' '.join(str(error).split())[:300]}. "
            "Repair or remove the file."
        ) from error
    return found.assign(holder=found["holder"].map(names))


def _found(files: Sequence[Path], column: str, texts: list[str]) -> set[str]:
    import duckdb
    import pandas as pd

    with duckdb.connect() as database:
        kept = database.read_parquet([str(file) for file in files], union_by_name=True)
        if column not in kept.columns:
            return set()
        database.register("wanted", pd.DataFrame({"value": texts}, dtype="object"))
        kept.create_view("kept")
        text = _text_in_sql(column, str(kept.types[kept.columns.index(column)]))
        rows = database.execute(f"select distinct value from wanted semi join kept on value = {text}").fetchall()
    return {row[0] for row in rows}


def _text(value: object) -> str:
    """As DuckDB writes it."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text_in_sql(column: str, kind: str) -> str:
    name = '"' + column.replace('"', '""') + '"'
    if kind in FLOATING:
        whole = f"{name} = trunc({name}) and abs({name}) < 1e18"
        return f"case when {whole} then cast(cast({name} as bigint) as varchar) else cast({name} as varchar) end"
    return f"cast({name} as varchar)"
