"""Read singular SQL tests, and run declared SQL over a batch in a sealed DuckDB. Never changes a row."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.errors import ChecksError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.quality import Check, CheckOutcome, CheckStatus, Scope

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import pandas as pd

    from selfheal_assets.ports import BatchRows

SAMPLE_ROWS = 10
QUERY_SECONDS = 120.0
_POSITION = "__position"
_BATCH = "__batch"
REF = re.compile(r"ref\(\s*['\"]([^'\"]*)['\"]\s*\)")
_JINJA = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_CONFIG = re.compile(r"config\(\s*severity\s*=\s*['\"](error|warn)['\"]\s*\)", re.IGNORECASE)
Declared = tuple[str, Check]
"""A check, after the `file:line` it stands at."""


def read_singular(path: Path, spec: ModelSpec, mistakes: list[str]) -> list[Declared]:
    """The check of one SQL file when it refers to the model, else none; adds what is wrong to `mistakes`."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        mistakes.append(f"{path}:1: the file must be SQL in UTF-8; received {error}; save it as UTF-8")
        return []
    found = [(match, match.group(1).strip()) for match in _JINJA.finditer(text)]
    models = {reference.group(1) for _, inside in found if (reference := REF.fullmatch(inside))}
    severities = [config.group(1).lower() for _, inside in found if (config := _CONFIG.fullmatch(inside))]
    strange = [(match, inside) for match, inside in found if not (REF.fullmatch(inside) or _CONFIG.fullmatch(inside))]
    for match, inside in strange:
        rule = "a singular test may use {{ ref('<model>') }} and {{ config(severity='error' or 'warn') }} only"
        mistakes.append(f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {rule}; received {inside!r}; correct it")
    if len(models) != 1:
        rule = "a singular test must refer to exactly one model by {{ ref('<model>') }}"
        mistakes.append(f"{path}:1: {rule}; received {sorted(models)}; select from one model")
    if strange or models != {spec.name}:
        return []
    sql = _JINJA.sub(lambda match: f'"{spec.name}"' if REF.fullmatch(match.group(1).strip()) else "", text)
    comment = re.match(r"\s*(?:\{\{.*?\}\}\s*)?((?:--[^\n]*\n)*)", text)
    check = Check(
        name=re.sub(r"\W", "_", path.stem, flags=re.ASCII),
        test="singular",
        scope=Scope.ROW,
        severity="warn" if "warn" in severities else "error",
        arguments={"sql": sql, "event_id": spec.data.event_id},
        description=" ".join(line.strip("- ") for line in comment.group(1).splitlines()) if comment else "",
    )
    return [(f"{path}:1", check)]


def evaluate_singular(rows: "BatchRows", check: Check, model: str) -> CheckOutcome:
    """Run the SQL of a singular test over the batch, which it sees as the table `model`; a returned row is a failure.

    The failure is of rows when the result has the event id column and every id in it stands in the batch; otherwise
    it is of the table (no `failing_rows`). SQL that cannot run gives an ERRORED outcome, never an exception.
    """
    try:
        found = _select(rows, model, check.arguments["sql"])
    except ChecksError as error:
        return CheckOutcome(check=check, status=CheckStatus.ERRORED, observed=None, reason=str(error))
    if found.empty:
        return CheckOutcome(check=check, status=CheckStatus.PASSED, observed=0.0)
    positions = _positions(rows, found, check.arguments["event_id"])
    blamed = f"{len(positions)} rows of the batch" if positions else "the batch as a whole"
    return CheckOutcome(
        check=check,
        status=CheckStatus.FAILED,
        observed=float(len(found)),
        failing_rows=positions,
        sample=readable_rows(found),
        reason=f"the SQL returned {len(found)} rows, which blame {blamed}; allowed none",
    )


def rows_where(rows: "BatchRows", condition: str) -> "np.ndarray":
    """(n,) booleans: the rows for which the SQL condition is true. Raises ChecksError when it is not a condition."""
    import numpy as np

    # The line breaks keep a trailing `-- comment` of the condition from swallowing the bracket.
    sql = f'SELECT "{_POSITION}" FROM "{_BATCH}" WHERE (\n{condition}\n)'
    mask = np.zeros(len(rows), dtype=bool)
    mask[_select(rows, _BATCH, sql)[_POSITION].to_numpy()] = True
    return mask


def readable_rows(rows: "pd.DataFrame") -> tuple[Mapping[str, Any], ...]:
    """At most ten rows as plain values for people: text for times, None for missing values."""
    import pandas as pd

    def plain(value: Any) -> Any:
        if pd.api.types.is_scalar(value) and pd.isna(value):
            return None
        value = value.item() if hasattr(value, "item") else value
        return value if isinstance(value, bool | int | float) else str(value)[:200]

    head = rows.head(SAMPLE_ROWS)
    columns = [str(column) for column in head.columns]
    return tuple(
        dict(zip(columns, map(plain, values), strict=True)) for values in head.itertuples(index=False, name=None)
    )


def _positions(rows: "BatchRows", found: "pd.DataFrame", event_id: str) -> tuple[int, ...]:
    if event_id not in found or event_id not in rows.columns:
        return ()
    present = rows.frame([event_id])[event_id]
    if not found[event_id].isin(present).all():
        return ()
    return tuple(present.isin(found[event_id]).to_numpy().nonzero()[0].tolist())


def _select(rows: "BatchRows", name: str, sql: str) -> "pd.DataFrame":
    import duckdb

    try:
        with _sealed(rows, name) as connection:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                kinds = [statement.type.name for statement in statements]
                raise ChecksError(
                    f"a check's SQL must be exactly one SELECT; received {kinds}. Write one SELECT of the failing rows."
                )
            interrupt = Timer(QUERY_SECONDS, connection.interrupt)
            interrupt.start()
            try:
                return connection.execute(statements[0]).df()
            finally:
                interrupt.cancel()
    except duckdb.InterruptException as error:
        raise ChecksError(
            f"a check's SQL must finish within {QUERY_SECONDS:.0f} s; it was stopped. Make the query cheaper."
        ) from error
    except (duckdb.Error, ValueError, TypeError) as error:
        first = str(error).strip().splitlines()[0]
        raise ChecksError(
            f"a check's SQL must run on the batch's columns; received '{first}'. Correct the SQL, or the batch."
        ) from error


@contextmanager
def _sealed(rows: "BatchRows", name: str) -> "Iterator[duckdb.DuckDBPyConnection]":
    """A database in memory that holds the batch as a view and reaches no file, network or Python variable."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "python_enable_replacements": False,
        "autoinstall_known_extensions": False,
    }
    with duckdb.connect(":memory:", config=settings) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        _register(connection, rows, name)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


def _register(connection: "duckdb.DuckDBPyConnection", rows: "BatchRows", name: str) -> None:
    """The rows as the table of that name, numbered for ourselves; a large batch's file is read as the query goes."""
    import numpy as np

    from selfheal_assets.adapters.stored_rows import StoredRows
    from selfheal_assets.ports import batch_rows

    if not isinstance(rows, StoredRows) or len(rows) <= batch_rows.PART_ROWS:
        frame = rows.frame().copy(deep=False)
        if name == _BATCH:
            frame[_POSITION] = np.arange(len(frame))
        connection.register(name, frame)
        return
    file = "'" + str(rows.path).replace("'", "''") + "'"
    columns = [f"NULL::DOUBLE AS {_quoted(c)}" if c in rows.missing else _quoted(c) for c in rows.columns]
    if name == _BATCH:
        columns.append(f"file_row_number AS {_quoted(_POSITION)}")
    connection.execute(f"SET allowed_paths = [{file}]")
    source = f"read_parquet({file}, file_row_number = true)"
    connection.execute(f"CREATE VIEW {_quoted(name)} AS SELECT {', '.join(columns)} FROM {source}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
