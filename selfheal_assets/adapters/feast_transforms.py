"""Runs a model's SQL over a batch and its history into the Parquet file that Feast reads. Never touches Feast."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from selfheal_assets.core.errors import FeatureError
from selfheal_assets.durable import replaced

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import pandas as pd

TIMESTAMP = "event_timestamp"
MEMORY = "1GB"
"""What DuckDB holds while it sorts and windows; the rest goes to the disk."""
_SQL_TYPES = {
    "String": "VARCHAR",
    "Int32": "INTEGER",
    "Int64": "BIGINT",
    "Float32": "FLOAT",
    "Float64": "DOUBLE",
    "Bool": "BOOLEAN",
    "UnixTimestamp": "TIMESTAMPTZ",
}


def sql_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """Feast types -> DuckDB types, by column."""
    unknown = {name: kind for name, kind in columns.items() if kind not in _SQL_TYPES}
    if unknown:
        raise FeatureError(
            f"Feature types must be among {sorted(_SQL_TYPES)}; received {unknown}. Change the view's schema."
        )
    return {name: _SQL_TYPES[kind] for name, kind in columns.items()}


def transform_problems(path: Path, columns: Sequence[str]) -> list[str]:
    """What is wrong with the file: more or less than one SELECT, a syntax error, missing result columns."""
    import duckdb

    if not path.is_file():
        return [f"A model with history features needs {path}; it is missing. Add the file."]
    sql = path.read_text(encoding="utf-8")
    try:
        kinds = [statement.type.name for statement in duckdb.extract_statements(sql)]
    except duckdb.Error as error:
        return [f"{path} must be valid DuckDB SQL; {' '.join(str(error).split())}. Correct it."]
    if kinds != ["SELECT"]:
        return [f"{path} must be one SELECT; received {kinds or 'nothing'}. Keep one statement."]
    selected = _selected(sql)
    missing = [] if selected is None else sorted({*columns, TIMESTAMP} - set(selected))
    if missing:
        return [f"{path} must select all of {sorted({*columns, TIMESTAMP})}; {missing} are missing. Add them."]
    return []


def _selected(sql: str) -> list[str] | None:
    """Names of the result's columns by the syntax tree; None where a star hides them."""
    import duckdb

    with duckdb.connect() as connection:
        row = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    tree = json.loads(row[0]) if row else {}
    if tree.get("error", True):
        return None
    node = tree["statements"][0]["node"]
    while node["type"] == "SET_OPERATION_NODE":
        node = node.get("left") or node["children"][0]
    selection = node.get("select_list", [])
    if not selection or any(item["class"] == "STAR" for item in selection):
        return None
    return [item.get("alias") or (item.get("column_names") or [""])[-1] for item in selection]


def compute_features(
    sql: str,
    rows: "pd.DataFrame | Path",
    history: Sequence[Path],
    timestamp: str,
    columns: Mapping[str, str],
    keys: Sequence[str],
    target: Path,
) -> int:
    """Run `sql` over `batch` (the rows, or their file) and `history` (Parquet files); write `target`, count its rows.

    `columns` (name -> DuckDB type) and the event timestamp are what is kept. Rows without a key have no features.
    """
    import duckdb

    with TemporaryDirectory(prefix=".spill-", dir=target.parent) as spill, duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET memory_limit = '{MEMORY}'")
        connection.execute(f"SET temp_directory = {_literal(spill)}")
        connection.execute("SET preserve_insertion_order = false")
        if isinstance(rows, Path):
            connection.execute(f"CREATE VIEW landed AS SELECT * FROM read_parquet({_literal(str(rows))})")
        else:
            connection.register("landed", rows)
        whole_time = f'* REPLACE ("{timestamp}"::TIMESTAMPTZ AS "{timestamp}")'
        connection.execute(f"CREATE VIEW batch AS SELECT {whole_time} FROM landed")
        if history:
            files = ", ".join(_literal(str(path)) for path in history)
            earlier = f"read_parquet([{files}], union_by_name = true)"
            connection.execute(f"CREATE VIEW history AS SELECT {whole_time} FROM {earlier}")
        else:
            connection.execute("CREATE VIEW history AS SELECT * FROM batch WHERE false")
        computed = connection.sql(sql)
        missing = sorted({*columns, TIMESTAMP} - set(computed.columns))
        if missing:
            raise FeatureError(f"The transform must select all features; {missing} are missing. Add them to the SQL.")
        typed = [f'"{name}"::{kind} AS "{name}"' for name, kind in {TIMESTAMP: "TIMESTAMPTZ", **columns}.items()]
        complete = " AND ".join(f'"{name}" IS NOT NULL' for name in (*keys, TIMESTAMP))
        return _write(connection, computed.filter(complete).project(", ".join(typed)), target)


def write_without_rows(columns: Mapping[str, str], target: Path) -> None:
    """An empty Parquet file with the columns: before the first batch, Feast needs a file to read."""
    import duckdb

    typed = [f'NULL::{kind} AS "{name}"' for name, kind in {TIMESTAMP: "TIMESTAMPTZ", **columns}.items()]
    with duckdb.connect() as connection:
        _write(connection, connection.sql(f"SELECT {', '.join(typed)} WHERE false"), target)


def latest_rows(target: Path, keys: Sequence[str], features: Sequence[str]) -> "pd.DataFrame":
    """The newest row of each entity in the file, with keys, event timestamp (us, UTC) and features."""
    import duckdb

    wanted = ", ".join(f'"{name}"' for name in [*keys, TIMESTAMP, *features])
    entity = ", ".join(f'"{name}"' for name in keys)
    query = f"""
        SELECT {wanted} FROM read_parquet(?)
        QUALIFY row_number() OVER (PARTITION BY {entity} ORDER BY {TIMESTAMP} DESC) = 1
    """
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.execute(query, [str(target)]).df()
    return rows.astype({TIMESTAMP: "datetime64[us, UTC]"})


def whole_seconds(moments: "pd.Series") -> "np.ndarray":
    """Seconds since 1970, without the fraction."""
    seconds: np.ndarray = moments.dt.as_unit("s").to_numpy(dtype="int64")
    return seconds


def _write(connection: "duckdb.DuckDBPyConnection", relation: "duckdb.DuckDBPyRelation", target: Path) -> int:
    """Atomically: Feast's pattern `*.parquet` finds the file only when it is whole and durable."""
    with replaced(target) as draft:
        # Ordered by everything, so that the same batch always gives the same file.
        relation.order("ALL").write_parquet(str(draft))
        row = connection.execute("SELECT count(*) FROM read_parquet(?)", [str(draft)]).fetchone()
    return int(row[0]) if row else 0


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
