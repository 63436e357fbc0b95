"""Whatever is dropped into landing ends as clean or quarantined, row for row, and the next good batch flows."""

import io
import json
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from quick_home import quick_home

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.simulator.payments import PaymentsWorld, Regime

ROWS = 120
CLEAN, PARTIAL, QUARANTINED = "CLEAN", "PARTIAL", "QUARANTINED"
WORLD = PaymentsWorld()
Frame = pd.DataFrame


def healthy(index: int, rows: int = ROWS) -> Frame:
    return WORLD.batch(index, rows, Regime.HEALTHY)


def as_csv(frame: Frame, **options: Any) -> bytes:
    return frame.to_csv(index=False, **options).encode()


def as_parquet(frame: Frame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, coerce_timestamps="us", allow_truncated_timestamps=True)
    return buffer.getvalue()


@dataclass(frozen=True)
class Landed:
    """A file that is dropped, and what must become of it."""

    name: str
    content: bytes
    status: str
    reason: str = ""
    rows: int = 0
    bad_rows: int = 0

    @property
    def readable(self) -> bool:
        return self.rows > 0 or self.reason == "no rows"


def rows_at(column: str, first: int, *values: Any) -> Callable[[Frame], Frame]:
    """Rows from `first` on have the values in the column."""

    def damage(frame: Frame) -> Frame:
        column_values = frame[column].astype(object)
        column_values.iloc[first : first + len(values)] = list(values)
        return frame.assign(**{column: column_values.astype(frame[column].dtype)})

    return damage


def every(**columns: Any) -> Callable[[Frame], Frame]:
    return lambda frame: frame.assign(**columns)


def dated(first: int, *moments: str) -> Callable[[Frame], Frame]:
    def damage(frame: Frame) -> Frame:
        times = frame["event_timestamp"].astype("datetime64[us, UTC]")
        times.iloc[first : first + len(moments)] = pd.Series(moments).astype("datetime64[us, UTC]")
        return frame.assign(event_timestamp=times)

    return damage


def damaged(
    name: str, index: int, status: str, reason: str, *damages: Callable[[Frame], Frame], bad: int = 0
) -> Landed:
    frame = healthy(index)
    for damage in damages:
        frame = damage(frame)
    return Landed(f"{name}.parquet", as_parquet(frame), status, reason, rows=len(frame), bad_rows=bad)


UNREADABLE = [
    Landed("empty.csv", b"", QUARANTINED, "Empty CSV file"),
    Landed("empty.parquet", b"", QUARANTINED, "0 bytes"),
    Landed("truncated.parquet", as_parquet(healthy(0))[:-300], QUARANTINED, "must be a readable .parquet"),
    Landed("noise.csv", np.random.default_rng(1).bytes(4_000), QUARANTINED, "must be a readable .csv"),
    Landed("noise.parquet", np.random.default_rng(2).bytes(4_000), QUARANTINED, "must be a readable .parquet"),
    Landed("zeros.csv", bytes(5_000), QUARANTINED, "must be a readable .csv"),
    Landed("latin1.csv", "payment_id,country\np-1,Österreich\n".encode("latin-1"), QUARANTINED, "UTF8"),
    Landed("latin1-header.csv", "payment_id,Länder\np-1,x\n".encode("latin-1"), QUARANTINED, "utf-8"),
    Landed("utf16.csv", as_csv(healthy(1)).decode().encode("utf-16"), QUARANTINED, "must be a readable .csv"),
    Landed("ragged.csv", b"payment_id,amount\np-1,1.0,9\np-2\n", QUARANTINED, "Expected 2 columns"),
    Landed("twice.csv", b"payment_id,amount,amount\np-1,1.0,2.0\n", QUARANTINED, "repeat"),
    Landed("header_only.csv", as_csv(healthy(1)).splitlines()[0], QUARANTINED, "must be a readable .csv"),
    Landed("batch.json", b'[{"payment_id": "p-1"}]', QUARANTINED, "must be one of"),
    Landed("batch.xlsx", b"PK\x03\x04 not a table", QUARANTINED, "must be one of"),
    Landed("no_suffix", as_csv(healthy(2)), QUARANTINED, "must be one of"),
    Landed("beyond_the_calendar.parquet", b"", QUARANTINED, "years 1 to 9999"),
]
HOSTILE_NAMES = [
    Landed("%2f..\\..%2fetc.csv", b"", QUARANTINED, "Empty CSV file"),
    Landed("a..b....csv", b"", QUARANTINED, "Empty CSV file"),
    Landed("--rm -rf $(reboot);'\"`x`.csv", b"", QUARANTINED, "Empty CSV file"),
    Landed("tab\tand\rreturn.csv", b"", QUARANTINED, "Empty CSV file"),
    Landed("x" * 251 + ".csv", as_csv(healthy(10)), CLEAN, rows=ROWS),
    Landed("-två  söner & 百\nnew line.csv", as_csv(healthy(11)), CLEAN, rows=ROWS),
    Landed(os.fsdecode(b"not-utf8-\xff\xfe.csv"), as_csv(healthy(12)), CLEAN, rows=ROWS),
    Landed("UPPER.PARQUET", as_parquet(healthy(13)), CLEAN, rows=ROWS),
]
EARLIER = Landed("good-first.parquet", as_parquet(healthy(3)), CLEAN, rows=ROWS)


def odd_but_sound(index: int) -> Frame:
    """Texts over several lines, the name of Namibia, and labels that are not known yet."""
    frame = healthy(index)
    return frame.assign(
        merchant_id=[*frame["merchant_id"][:-1] + "\nfirst floor, left", "NA"],
        is_fraud=frame["is_fraud"].mask(np.arange(ROWS) < 40),
    )


TABLES = [
    Landed("header_and_line_end.csv", as_csv(healthy(20, 1)).splitlines(keepends=True)[0], QUARANTINED, "no rows"),
    Landed("semicolons.csv", as_csv(healthy(21), sep=";"), QUARANTINED, "columns", rows=ROWS),
    Landed("odd_but_sound.csv", b"\xef\xbb\xbf" + as_csv(odd_but_sound(22)), CLEAN, rows=ROWS),
    Landed(
        "one_word.csv",
        as_csv(healthy(23).assign(amount=lambda f: f["amount"].astype(object).mask(f.index < 1, "twelve"))),
        QUARANTINED,
        "amount",
        rows=ROWS,
    ),
    damaged("types", 24, QUARANTINED, "amount is string, not float", every(amount="one", channel=[["web"]] * ROWS)),
    damaged("bytes", 25, QUARANTINED, "account_id", every(account_id=b"\xff", distance_km=[{"km": 1}] * ROWS)),
    damaged("missing", 26, QUARANTINED, "distance_km", lambda f: f.drop(columns=["distance_km", "is_fraud"])),
    damaged("no_time", 27, QUARANTINED, "event_timestamp", lambda f: f.drop(columns="event_timestamp")),
    damaged("extra", 28, QUARANTINED, "not declared: loyalty", every(loyalty="gold")),
    damaged("all_null", 29, QUARANTINED, "distance_km", every(distance_km=np.nan)),
    damaged("known_rows", 3, QUARANTINED, "payment_id", lambda f: f.iloc[::-1]),
    damaged("end_of_time", 30, QUARANTINED, "event_timestamp", dated(0, *["9999-12-31 23:59:59.999999"] * ROWS)),
    damaged("dawn_of_time", 31, QUARANTINED, "event_timestamp", dated(0, *["0001-01-01"] * ROWS)),
    damaged("ten_rows", 32, QUARANTINED, "row", lambda f: f.head(10)),
    damaged("nan_labels", 33, CLEAN, "", every(is_fraud=np.nan)),
    damaged(
        "some_ids_and_times",
        34,
        PARTIAL,
        "event_timestamp",
        rows_at("payment_id", 0, "p-same", "p-same", healthy(3)["payment_id"][5]),
        dated(3, "0001-01-01", "2150-01-01"),
        rows_at("event_timestamp", 5, pd.NaT),
        bad=6,
    ),
    damaged(
        "some_values",
        35,
        PARTIAL,
        "amount",
        rows_at("amount", 0, np.inf, 1.7e308, np.nan),
        rows_at("distance_km", 3, -np.inf),
        rows_at("is_fraud", 4, 7),
        rows_at("account_id", 5, None),
        bad=6,
    ),
]
GOOD = Landed("good-last.parquet", as_parquet(healthy(90)), CLEAN, rows=ROWS)
ALL = [*UNREADABLE, *HOSTILE_NAMES, *TABLES, GOOD]


def beyond_the_calendar() -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    buffer = io.BytesIO()
    times = pa.array([2**62] * 3, pa.timestamp("us", "UTC"))
    parquet.write_table(pa.table({"payment_id": ["a", "b", "c"], "event_timestamp": times}), buffer)
    return buffer.getvalue()


def land(loop: InProcessLoop, name: str, content: bytes) -> str:
    """Put the file in place by rename, as a sender must; its batch id."""
    folder = loop.services.batches.landing("payments")
    folder.mkdir(parents=True, exist_ok=True)
    waiting = folder / ".incoming"
    waiting.write_bytes(content)
    waiting.rename(folder / name)
    return loop.services.batches.batch_id(folder / name)


def drain(loop: InProcessLoop) -> list[str]:
    runs = []
    while launched := loop.tick("arrivals"):
        runs += launched
    return runs


def settled(loop: InProcessLoop, batch_id: str) -> Record:
    return loop.services.ledger.newest("payments", RecordKind.BATCH_SETTLED, subject=batch_id)[0]


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessLoop]:
    home = tmp_path_factory.mktemp("bad-input") / "home"
    with quick_home(home) as services, dg.DagsterInstance.get() as instance:
        yield InProcessLoop(services, load_spec(PROJECT / MODELS / "payments" / "defs.yaml"), instance)


@pytest.fixture(scope="module")
def drained(loop: InProcessLoop) -> dict[str, str]:
    """Batch ids by file name, after everything was dropped at once and drained."""
    land(loop, EARLIER.name, EARLIER.content)
    drain(loop)
    contents = {landed.name: landed.content for landed in ALL} | {"beyond_the_calendar.parquet": beyond_the_calendar()}
    ids = {name: land(loop, name, content) for name, content in contents.items()}
    runs = drain(loop)
    assert all(loop.instance.get_run_by_id(run).is_success for run in runs)  # type: ignore[union-attr]
    return ids


@pytest.mark.parametrize("landed", ALL, ids=lambda landed: ascii(landed.name)[:40])
def test_ends_as_clean_or_quarantined_with_every_row(
    loop: InProcessLoop, drained: dict[str, str], landed: Landed
) -> None:
    batch_id = drained[landed.name]
    record, batches = settled(loop, batch_id), loop.services.batches
    counts = {name: record.payload[f"rows_{name}"] for name in ("landed", "clean", "quarantined")}
    assert (record.status, counts["landed"]) == (landed.status, landed.rows), record.payload["reasons"]
    assert landed.reason in " ".join(record.payload["reasons"])
    assert bool(record.payload["reasons"]) == (landed.status != CLEAN)
    assert counts["landed"] == counts["clean"] + counts["quarantined"]
    if landed.status == PARTIAL:
        assert counts["quarantined"] == landed.bad_rows
    kept = len(batches.read("payments", "clean", batch_id)) if counts["clean"] else 0
    assert kept == counts["clean"]
    assert batches.has("payments", "features", batch_id) == (counts["clean"] > 0)
    if landed.status != CLEAN:
        rows, reason = batches.read_quarantine("payments", batch_id)
        assert reason["reasons"] == record.payload["reasons"]
        assert (0 if rows is None else len(rows)) == counts["quarantined"]
        assert (rows is None) == (not landed.readable)


@pytest.mark.parametrize("landed", [f for f in ALL if not f.readable], ids=lambda landed: ascii(landed.name)[:40])
def test_unreadable_files_keep_their_bytes(loop: InProcessLoop, drained: dict[str, str], landed: Landed) -> None:
    content = beyond_the_calendar() if landed.name.startswith("beyond") else landed.content
    folder = loop.services.batches.quarantine("payments", drained[landed.name])
    assert [file.read_bytes() for file in (folder / "original").iterdir()] == [content]
    assert json.loads((folder / "reason.json").read_text())["file_name"] == landed.name


def test_values_survive_the_reading(loop: InProcessLoop, drained: dict[str, str]) -> None:
    batches = loop.services.batches
    for name, frame in (("odd_but_sound.csv", odd_but_sound(22)), ("UPPER.PARQUET", healthy(13))):
        kept = batches.read("payments", "clean", drained[name])
        # One word for what is missing: pandas has several.
        found, given = (f.astype(object).where(f.notna(), None) for f in (kept, frame))
        pd.testing.assert_frame_equal(found, given)
    assert settled(loop, drained["odd_but_sound.csv"]).payload["labelled_rows"] == ROWS - 40
    assert settled(loop, drained["nan_labels.parquet"]).payload["labelled_rows"] == 0


def test_landing_is_empty_and_nothing_is_open(loop: InProcessLoop, drained: dict[str, str]) -> None:
    assert drained
    assert [path.name for path in loop.services.batches.landing("payments").rglob("*") if path.is_file()] == []
    assert loop.services.ledger.open_batches("payments", limit=10) == []
    assert drain(loop) == []


def test_the_same_file_again_changes_nothing(loop: InProcessLoop, drained: dict[str, str]) -> None:
    files = {landed.name: landed.content for landed in (GOOD, TABLES[1], UNREADABLE[2])}
    before = {name: settled(loop, drained[name]) for name in files}
    assert {name: land(loop, name, content) for name, content in files.items()} == {
        name: drained[name] for name in files
    }
    assert drain(loop) == []
    assert "3 already known" in loop.ticks[-1]
    assert {name: settled(loop, drained[name]) for name in files} == before
    assert loop.services.batches.landed("payments") == []


def test_what_is_no_landed_file_is_left_alone(loop: InProcessLoop, drained: dict[str, str], tmp_path: Path) -> None:
    assert drained
    folder = loop.services.batches.landing("payments")
    outside = tmp_path / "outside.csv"
    outside.write_bytes(GOOD.content)
    (folder / "link.csv").symlink_to(outside)
    (folder / "folder.csv").mkdir()
    (folder / "half.csv.tmp").write_bytes(b"payment_id")
    (folder / ".hidden.csv").write_bytes(b"payment_id")
    os.mkfifo(folder / "pipe.csv")
    left = sorted(os.listdir(folder))
    assert drain(loop) == []
    assert sorted(os.listdir(folder)) == left
    assert outside.read_bytes() == GOOD.content


def test_one_class_teaches_no_model_and_the_next_batch_flows(loop: InProcessLoop, drained: dict[str, str]) -> None:
    """Outcomes that were never joined look like a batch without fraud. Where too few rows let the check of their share
    speak, training refuses."""
    assert drained
    training = replace(loop.spec.training, trials=2, windows=(2,), min_rows=500)
    unsure = replace(loop.spec.drift, min_rows=10_000)
    learner = InProcessLoop(loop.services, replace(loop.spec, training=training, drift=unsure), loop.instance)
    ids = [land(learner, f"one-class-{n}.parquet", as_parquet(healthy(n, 700).assign(is_fraud=0))) for n in (95, 96)]
    learner.settle()
    assert [settled(learner, batch_id).status for batch_id in ids] == [CLEAN, CLEAN]
    decided = loop.services.ledger.newest("payments", RecordKind.DECISION, limit=99)
    (decision,) = (d for d in decided if d.payload["action"] == "retrain" and d.status == "DECIDED")
    assert decision.payload["cause"] == "no_champion"
    (outcome,) = loop.services.ledger.newest("payments", RecordKind.OUTCOME, limit=5)
    assert decision.payload["training_batches"] == ids
    assert (outcome.subject, outcome.status) == (decision.subject, "FAILED")
    run = loop.instance.get_runs(dg.RunsFilter(job_name="payments_retrain"), limit=1)[0]
    failures = [entry.dagster_event.step_failure_data.error for entry in loop.instance.all_logs(run.run_id)
                if entry.dagster_event and entry.dagster_event.is_step_failure]  # fmt: skip
    assert any(error and "TrainingError" in error.to_string() for error in failures)
    assert loop.services.registry.versions("payments") == []
    good = land(loop, "after-one-class.parquet", as_parquet(healthy(91)))
    drain(loop)
    assert settled(loop, good).status == CLEAN


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_million_rows(loop: InProcessLoop) -> None:
    """In one batch, of 50,000 accounts: in bounded memory. `-s` shows the seconds of each stage."""
    rows = 1_000_000
    frame = PaymentsWorld(seed=8, accounts=50_000).batch(60, rows, Regime.HEALTHY)
    batch_id = land(loop, "million.parquet", as_parquet(frame))
    del frame
    (run,) = drain(loop)
    record = settled(loop, batch_id)
    assert (record.status, record.payload["rows_landed"], record.payload["rows_clean"]) == (CLEAN, rows, rows)
    assert loop.services.ledger.open_batches("payments", limit=1) == []
    for step in loop.instance.get_run_step_stats(run):
        print(f"{step.step_key}: {(step.end_time or 0) - (step.start_time or 0):.1f} s")
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory: {peak_gb:.2f} GB")
    assert peak_gb < 4
