"""Labels that come after their rows: joined in any order, corrected, waiting, refused; then measured and learned."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from quick_home import quick_home

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.statistics.metrics import metric
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.simulator.landing import drop, simulate
from selfheal_assets.simulator.late_labels import LateLabels, labels_alone, without_labels
from selfheal_assets.simulator.payments import PaymentsWorld, Regime
from selfheal_assets.stages.batch_records import IMMATURE, MATURED, REFUSED, labelled_rows, learnable_batches
from selfheal_assets.stages.current_labels import labels_of
from selfheal_assets.stages.training_frame import BATCH

ROWS, LATE = 700, 2
WORLD = PaymentsWorld(seed=3)
Frame = pd.DataFrame


def small(spec: ModelSpec) -> ModelSpec:
    return replace(
        spec,
        training=replace(spec.training, trials=2, windows=(2,), min_rows=600, max_boost_rounds=30),
        performance=replace(spec.performance, min_rows=100, max_drop=0.2),
        gate=replace(spec.gate, metric_floor=0.55, margin=0.2, max_slice_drop=0.5, max_calibration_error=0.4),
        policy=replace(spec.policy, autonomy="heal", cooldown_minutes=0.0),
    )


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessLoop]:
    with quick_home(tmp_path_factory.mktemp("late") / "home") as services:
        spec = small(load_spec(PROJECT / MODELS / "payments" / "defs.yaml"))
        with dg.DagsterInstance.get() as instance:
            loop = InProcessLoop(services, spec, instance)
            simulated(loop, range(4))
            yield loop


def simulated(loop: InProcessLoop, indexes: range) -> None:
    """Batches whose labels land two batches late, and everything that the sensors then ask for."""
    folder = loop.services.batches.landing("payments")
    list(simulate(WORLD, [(i, "healthy") for i in indexes], ROWS, folder, labels_after=LATE))
    loop.settle()


def truth(index: int, rows: int = ROWS) -> Frame:
    return WORLD.batch(index, rows, Regime.HEALTHY)


def land_batch(loop: InProcessLoop, index: int, frame: Frame | None = None) -> None:
    rows = without_labels(truth(index)) if frame is None else frame
    drop(rows, loop.services.batches.landing("payments"), f"payments-{index:04d}.parquet")


def land_labels(loop: InProcessLoop, name: str, frame: Frame) -> Path:
    return drop(frame, loop.services.labels.landing("payments"), name)


def labels(index: int, part: slice = slice(None)) -> Frame:
    return truth(index)[["payment_id", "is_fraud"]].iloc[part]


def batch_of(loop: InProcessLoop, index: int) -> str:
    found = loop.services.ledger.newest("payments", RecordKind.BATCH_REGISTERED, limit=1_000)
    return next(r.subject for r in found if r.payload["file_name"] == f"payments-{index:04d}.parquet")


def told(loop: InProcessLoop, kind: RecordKind, index: int) -> list[Record]:
    return loop.services.ledger.newest("payments", kind, subject=batch_of(loop, index), limit=100)


def performance(loop: InProcessLoop, index: int) -> list[Evidence]:
    """The last measurement first."""
    found = map(Evidence.from_record, told(loop, RecordKind.EVIDENCE, index))
    return [evidence for evidence in found if evidence.signal is Signal.PERFORMANCE]


def current(loop: InProcessLoop, index: int) -> pd.Series:
    batch_id = batch_of(loop, index)
    clean = loop.services.batches.read("payments", "clean", batch_id)
    return labels_of(loop.services, loop.spec, batch_id, clean).set_index("payment_id")["is_fraud"]


def joined_truly(loop: InProcessLoop, index: int) -> bool:
    return bool((current(loop, index) == truth(index).set_index("payment_id")["is_fraud"]).all())


def notices(loop: InProcessLoop) -> str:
    path = loop.services.home / "notifications.jsonl"
    return path.read_text() if path.exists() else ""


def said(loop: InProcessLoop) -> str:
    """What the labels' sensor said last."""
    return next(words for words in reversed(loop.ticks) if words.startswith("payments_labels:"))


def last_join(loop: InProcessLoop) -> dict[str, Any]:
    event = loop.instance.get_latest_materialization_event(dg.AssetKey(["payments", "labels"]))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_the_first_model_is_learned_from_the_labels_that_came(loop: InProcessLoop) -> None:
    champion = loop.services.registry.by_alias("payments", "champion")
    assert champion is not None
    frame = loop.services.batches.read("payments", "training", champion.tags["decision_id"])
    assert list(dict.fromkeys(frame[BATCH])) == [batch_of(loop, 0), batch_of(loop, 1)]
    known = pd.concat([truth(0), truth(1)]).set_index("payment_id")["is_fraud"]
    assert (frame.set_index("payment_id")["is_fraud"] == known).all()
    settled = told(loop, RecordKind.BATCH_SETTLED, 0)
    assert (settled[0].status, settled[0].payload["labelled_rows"]) == ("CLEAN", 0)
    assert labelled_rows(loop.services.ledger, loop.spec, settled) == {batch_of(loop, 0): ROWS}
    assert current(loop, 2).isna().all()


def test_performance_is_unknown_until_the_labels_come_two_batches_late(loop: InProcessLoop) -> None:
    simulated(loop, range(4, 6))
    assert told(loop, RecordKind.LABELS, 3)[0].status == MATURED
    assert performance(loop, 3) == [], "nobody scored these rows"
    (before,) = performance(loop, 5)
    assert before.status is Status.UNKNOWN
    assert "0% of the rows have a label yet, less than the 80% required" in before.reason
    simulated(loop, range(6, 8))
    after, first = performance(loop, 5)
    assert first == before
    scores = loop.services.batches.read("payments", "scores", batch_of(loop, 5))
    known = scores["payment_id"].map(truth(5).set_index("payment_id")["is_fraud"]).to_numpy(dtype=float)
    assert after.value == pytest.approx(metric("roc_auc", known, scores["score"].to_numpy()))
    assert (after.status, after.champion_version, after.sample_size) == (Status.CLEAR, "1", ROWS)
    assert after.details["matured"] == 1.0
    low, high = after.details["interval"]
    assert low < after.value < high
    profile = loop.services.batches.read_document("payments", "reference-1")
    assert profile is not None
    assert after.details["champion_metric"] == profile["metric"]
    (record,) = told(loop, RecordKind.LABELS, 5)
    assert (record.status, record.payload["rows"], record.payload["labelled_rows"]) == (MATURED, ROWS, ROWS)
    assert (record.payload["matured"], record.payload["corrections"], len(record.payload["files"])) == (1.0, 0, 1)


def test_the_performance_report_of_the_batch_is_shown_again(loop: InProcessLoop) -> None:
    wanted = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey(["payments", "performance_report"]), asset_partitions=[batch_of(loop, 5)]
    )
    later, first = loop.instance.fetch_materializations(wanted, limit=10).records
    shown = later.asset_materialization
    assert shown is not None
    assert (shown.metadata["matured"].value, shown.metadata["status"].value) == (1.0, "CLEAR")
    assert first.asset_materialization is not None
    assert first.asset_materialization.metadata["matured"].value == 0.0


def test_out_of_order_in_parts_and_in_csv(loop: InProcessLoop) -> None:
    """The later part of a later batch first; what has come is told, and is too little until it is enough."""
    for index in (10, 11):
        land_batch(loop, index)
    loop.settle()
    land_labels(loop, "eleven-late.csv", labels(11, slice(300, None)))
    loop.settle()
    assert told(loop, RecordKind.LABELS, 11)[0].status == IMMATURE
    assert performance(loop, 11)[0].status is Status.UNKNOWN
    assert "57% of the rows have a label yet" in performance(loop, 11)[0].reason
    both = pd.concat([labels(11, slice(0, 300)), labels(10)])
    land_labels(loop, "rest.parquet", both)
    loop.settle()
    assert joined_truly(loop, 10)
    assert joined_truly(loop, 11)
    assert performance(loop, 11)[0].status is Status.CLEAR
    assert performance(loop, 10)[0].status is Status.CLEAR
    assert (last_join(loop)["rows_joined"], last_join(loop)["batches_touched"]) == (ROWS + 300, 2)


def test_a_correction_is_measured_again_and_an_older_one_changes_nothing(loop: InProcessLoop) -> None:
    measured = len(performance(loop, 10))
    mixed_up = labels(10)["is_fraud"].to_numpy()[::-1]
    wrong = labels(10).assign(is_fraud=mixed_up, label_timestamp=pd.Timestamp("2100-01-02", tz="UTC"))
    corrected = int((labels(10)["is_fraud"] != mixed_up).sum())
    land_labels(loop, "wrong.parquet", wrong)
    loop.settle()
    assert not joined_truly(loop, 10)
    assert told(loop, RecordKind.LABELS, 10)[0].payload["corrections"] == corrected > 0
    assert performance(loop, 10)[0].status is Status.RAISED
    land_labels(loop, "older.parquet", labels(10).assign(label_timestamp=pd.Timestamp("2100-01-01", tz="UTC")))
    loop.settle()
    assert len(performance(loop, 10)) == measured + 1
    land_labels(loop, "right.parquet", labels(10).assign(label_timestamp=pd.Timestamp("2100-01-03", tz="UTC")))
    loop.settle()
    assert joined_truly(loop, 10)
    assert told(loop, RecordKind.LABELS, 10)[0].payload["corrections"] == 2 * corrected
    assert performance(loop, 10)[0].status is Status.CLEAR


def test_labels_wait_for_their_batch(loop: InProcessLoop) -> None:
    land_labels(loop, "early.parquet", pd.concat([labels(13), labels(12, slice(0, 5))]))
    loop.settle()
    assert (last_join(loop)["waiting"], last_join(loop)["batches_touched"]) == (ROWS + 5, 0)
    assert f"{ROWS + 5} labels wait for their batch" in said(loop)
    land_batch(loop, 12)
    loop.settle()
    assert current(loop, 12).count() == 5
    assert last_join(loop)["waiting"] == ROWS
    land_batch(loop, 13)
    loop.settle()
    assert joined_truly(loop, 13)
    assert performance(loop, 13)[0].details["matured"] == 1.0
    assert last_join(loop)["waiting"] == 0
    assert "no labels wait" in said(loop)


def test_a_batch_may_bring_labels_and_late_ones_overrule_them(loop: InProcessLoop) -> None:
    rows = truth(14)
    land_batch(loop, 14, rows.assign(is_fraud=rows["is_fraud"].astype("float64").mask(np.arange(ROWS) < 50)))
    loop.settle()
    assert told(loop, RecordKind.BATCH_SETTLED, 14)[0].payload["labelled_rows"] == ROWS - 50
    land_labels(loop, "fourteen.csv", rows[["payment_id", "is_fraud"]].head(60).assign(is_fraud=1))
    loop.settle()
    expected = rows["is_fraud"].mask(np.arange(ROWS) < 60, 1)
    assert current(loop, 14).tolist() == expected.tolist()
    record = told(loop, RecordKind.LABELS, 14)[0]
    assert record.payload["corrections"] == int((rows["is_fraud"].iloc[50:60] == 0).sum())
    assert record.payload["labelled_rows"] == ROWS


BAD = {
    "noise.parquet": (b"\x00" * 400, "must be a readable .parquet"),
    "no-label.csv": (b"payment_id,verdict\np-10-0,1\n", "'payment_id' and 'is_fraud'"),
    "seven.csv": (b"payment_id,is_fraud\np-10-0,7\n", "labels of 0, 1 or nothing; received 7.0"),
    "both.csv": (b"payment_id,is_fraud\np-10-0,1\np-10-0,0\n", "both labels for 'p-10-0'"),
}


def test_bad_files_go_to_quarantine_and_the_good_one_beside_them_counts(loop: InProcessLoop) -> None:
    before = current(loop, 10)
    for name, (content, _) in BAD.items():
        path = loop.services.labels.landing("payments") / name
        path.with_name(f".{name}").write_bytes(content)
        path.with_name(f".{name}").rename(path)
    land_labels(loop, "good.csv", labels(12))
    runs = loop.tick("labels")
    assert len(runs) == 1
    assert loop.tick("labels") == []
    assert joined_truly(loop, 12)
    assert current(loop, 10).equals(before)
    assert loop.services.labels.landed("payments") == []
    kept = {
        json.loads(path.read_text())["file_name"]: path.parent
        for path in (loop.services.home / "labels_quarantine" / "payments").rglob("reason.json")
    }
    assert set(kept) == set(BAD)
    for name, (content, reason) in BAD.items():
        assert (kept[name] / f"bytes{Path(name).suffix}").read_bytes() == content
        assert reason in json.loads((kept[name] / "reason.json").read_text())["reasons"][0]
        assert f"label file '{name}' is in quarantine" in notices(loop)
    assert len(last_join(loop)["quarantined_files"].records) == len(BAD)


def test_the_same_file_twice_changes_nothing(loop: InProcessLoop) -> None:
    before, records = performance(loop, 12), told(loop, RecordKind.LABELS, 12)
    path = land_labels(loop, "good.csv", labels(12))
    assert loop.tick("labels") == []
    assert "0 label files, 1 already known" in loop.ticks[-1]
    assert not path.exists()
    land_labels(loop, "good-copy.csv", labels(12))
    assert len(loop.tick("labels")) == 1
    assert joined_truly(loop, 12)
    assert told(loop, RecordKind.LABELS, 12)[0].payload["corrections"] == records[0].payload["corrections"]
    assert performance(loop, 12)[0].value == before[0].value


@pytest.mark.parametrize("kind", [RecordKind.LABELS, RecordKind.EVIDENCE])
def test_a_run_that_ends_after_the_overlay_is_repaired_by_the_next(
    loop: InProcessLoop, monkeypatch: pytest.MonkeyPatch, kind: RecordKind
) -> None:
    index = 20 if kind is RecordKind.LABELS else 21
    land_batch(loop, index)
    loop.settle()
    ledger = loop.services.ledger
    append = ledger.append

    def cut(*records: Record) -> int:
        if any(record.kind is kind for record in records):
            raise RuntimeError("the power went")
        return append(*records)

    land_labels(loop, f"labels-{index}.csv", labels(index))
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "append", cut)
        (run_id,) = loop.tick("labels")
    run = loop.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert joined_truly(loop, index), "the overlay stands already"
    assert len(performance(loop, index)) == 1
    loop.settle()
    (record,) = told(loop, RecordKind.LABELS, index)
    assert (record.payload["labelled_rows"], record.payload["corrections"]) == (ROWS, 0)
    assert [evidence.details["matured"] for evidence in performance(loop, index)] == [1.0, 0.0]
    assert loop.services.labels.pending("payments") == []


def test_labels_of_rows_in_quarantine_wait(loop: InProcessLoop) -> None:
    rows = truth(30)
    land_batch(loop, 30, without_labels(rows).assign(amount=rows["amount"].mask(np.arange(ROWS) < 20)))
    loop.settle()
    land_labels(loop, "thirty.csv", labels(30))
    loop.settle()
    assert last_join(loop)["waiting"] == 20
    record = told(loop, RecordKind.LABELS, 30)[0]
    assert (record.payload["rows"], record.payload["labelled_rows"]) == (ROWS - 20, ROWS - 20)


def quality(loop: InProcessLoop, index: int) -> list[Evidence]:
    """The last statement first."""
    found = map(Evidence.from_record, told(loop, RecordKind.EVIDENCE, index))
    return [evidence for evidence in found if evidence.signal is Signal.QUALITY]


def learnable(loop: InProcessLoop) -> set[str]:
    return {record.subject for record in learnable_batches(loop.services.ledger, loop.spec, limit=100)}


def test_labels_of_an_impossible_share_do_not_count_until_the_right_ones_come(loop: InProcessLoop) -> None:
    """Every outcome 0, as where they were not joined; a first part of them is too little to tell."""
    land_batch(loop, 40)
    land_labels(loop, "forty-part.csv", labels(40, slice(0, 300)).assign(is_fraud=0))
    loop.settle()
    batch_id = batch_of(loop, 40)
    assert told(loop, RecordKind.LABELS, 40)[0].status == IMMATURE
    assert [evidence.status for evidence in quality(loop, 40)] == [Status.CLEAR]
    land_labels(loop, "forty-rest.csv", labels(40, slice(300, None)).assign(is_fraud=0))
    loop.settle()
    (refused, *_) = told(loop, RecordKind.LABELS, 40)
    assert (refused.status, refused.payload["labelled_rows"]) == (REFUSED, ROWS)
    assert refused.payload["refused"] == [
        "mean_between_payments_is_fraud failed: mean of is_fraud 0; allowed 0.01 to 0.3"
    ]
    assert (quality(loop, 40)[0].status, quality(loop, 40)[0].value) == (Status.RAISED, 1.0)
    assert current(loop, 40).isna().all()
    assert performance(loop, 40)[0].status is Status.UNKNOWN
    assert batch_id not in learnable(loop)
    assert labelled_rows(loop.services.ledger, loop.spec, told(loop, RecordKind.BATCH_SETTLED, 40)) == {batch_id: 0}
    incidents = loop.services.ledger.newest("payments", RecordKind.INCIDENT, limit=50)
    assert "bad_data" in {record.payload["cause"] for record in incidents if batch_id in record.payload["batch_ids"]}
    land_labels(loop, "forty-right.csv", labels(40))
    loop.settle()
    assert told(loop, RecordKind.LABELS, 40)[0].status == MATURED
    assert [evidence.status for evidence in quality(loop, 40)] == [Status.CLEAR, Status.RAISED, Status.CLEAR]
    assert joined_truly(loop, 40)
    assert performance(loop, 40)[0].details["matured"] == 1.0
    assert batch_id in learnable(loop)


def test_a_run_that_ends_after_refusing_labels_says_so_the_next_time(
    loop: InProcessLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_batch(loop, 41)
    loop.settle()
    ledger = loop.services.ledger
    append = ledger.append

    def cut(*records: Record) -> int:
        if any(record.kind is RecordKind.EVIDENCE for record in records):
            raise RuntimeError("the power went")
        return append(*records)

    land_labels(loop, "labels-41.csv", labels(41).assign(is_fraud=1))
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "append", cut)
        loop.tick("labels")
    assert told(loop, RecordKind.LABELS, 41)[0].status == REFUSED
    assert quality(loop, 41)[0].status is Status.CLEAR
    loop.settle()
    assert [record.status for record in told(loop, RecordKind.LABELS, 41)] == [REFUSED]
    assert quality(loop, 41)[0].status is Status.RAISED
    assert current(loop, 41).isna().all()


def test_the_simulator_changes_nothing_but_the_label(tmp_path: Path) -> None:
    plan = [(0, "healthy"), (1, "bad_rows"), (2, "healthy")]
    usual = list(simulate(WORLD, plan, 50, tmp_path / "usual"))
    late = list(simulate(WORLD, plan, 50, tmp_path / "late", labels_after=1))
    for one, other in zip(usual, late, strict=True):
        with_labels, without = pd.read_parquet(one.path), pd.read_parquet(other.path)
        pd.testing.assert_frame_equal(with_labels.drop(columns="is_fraud"), without.drop(columns="is_fraud"))
        assert without["is_fraud"].isna().all()
    landed = sorted(path.name for path in (tmp_path / "late" / "labels").glob("[!.]*"))
    assert landed == ["labels-0000.parquet", "labels-0001.parquet"]
    first = pd.read_parquet(tmp_path / "late" / "labels" / "labels-0000.parquet")
    pd.testing.assert_frame_equal(
        first[["payment_id", "is_fraud"]], pd.read_parquet(usual[0].path)[["payment_id", "is_fraud"]]
    )
    assert (first["label_timestamp"] > pd.read_parquet(usual[1].path)["event_timestamp"].min()).all()
    assert LateLabels(tmp_path / "late", 1).land(3) == [tmp_path / "late" / "labels" / "labels-0002.parquet"]
    assert labels_alone(truth(0), 1)["payment_id"].is_unique
