"""Take a batch of so many rows in, check and divide it, in a process of its own; says the largest memory it had, in MB.

Run by test_large_batches_memory.py: `large_batch_child.py <home> <rows>`.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from selfheal_assets.adapters.batch_store import FileBatchStore
from selfheal_assets.adapters.gx_checks import GreatExpectationsChecks
from selfheal_assets.core.batch_gate import judge_batch
from selfheal_assets.core.quality import Check, Scope
from selfheal_assets.ports import BatchRows, CheckContext
from selfheal_assets.stages.checked_rows import JudgedRows

PART = 50_000
CHECKS = [
    Check(name="id", test="unique", scope=Scope.ROW, column="id"),
    Check(name="there", test="not_null", scope=Scope.ROW, column="id"),
    Check(name="range", test="accepted_range", scope=Scope.ROW, column="x3", arguments={"max_value": 3.5}),
    Check(name="mean", test="mean_between", scope=Scope.TABLE, column="x4", arguments={"min_value": -1}),
    Check(name="kinds", test="column_types", scope=Scope.TABLE, arguments={"types": {"id": "string", "x1": "float"}}),
]


def land(file: Path, rows: int) -> None:
    writer = None
    for start in range(0, rows, PART):
        rng = np.random.default_rng(start)
        numbers = {f"x{place}": rng.normal(size=PART) for place in range(16)}
        frame = pd.DataFrame({"id": [f"event-{start + row}" for row in range(PART)], **numbers})
        table = pa.Table.from_pandas(frame, preserve_index=False)
        writer = writer or parquet.ParquetWriter(file, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def checked(rows: BatchRows) -> JudgedRows:
    context = CheckContext(
        model="m",
        batch_id="b",
        now=datetime(2026, 1, 1, tzinfo=UTC),
        event_timestamp="at",
        reference=None,
        earlier=lambda _, values: pd.Series(False, index=values.index),
    )
    outcomes = GreatExpectationsChecks(None).evaluate(rows, CHECKS, context)
    judgement = judge_batch(outcomes, len(rows), 0.05)
    return JudgedRows(rows=rows, outcomes=outcomes, judgement=judgement, waived=frozenset())


def main(home: Path, rows: int) -> None:
    store = FileBatchStore(home)
    file = store.landing("m") / "b.parquet"
    file.parent.mkdir(parents=True)
    land(file, rows)
    judged = checked(store.take("m", store.batch_id(file), file.name, {}))
    with store.quarantining("m", "b") as add_bad, store.writing("m", "clean", "b") as add_clean:
        for clean, bad in judged.parts():
            add_clean(clean)
            add_bad(bad)
    assert len(store.rows("m", "clean", "b")) + judged.bad_rows == rows
    assert judged.bad_rows > 0
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    high_water = next(line for line in status if line.startswith("VmHWM"))
    print(int(high_water.split()[1]) * 1024 / 1e6)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
