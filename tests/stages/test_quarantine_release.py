"""The ways out of quarantine, through the real stages: waived, repaired, refused, failed again, discarded."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from quick_home import quick_home
from typer.testing import CliRunner, Result

from selfheal_assets.cli import app
from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.errors import BatchError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.operations import story
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.operations.quarantine import quarantined, release
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.simulator.landing import drop
from selfheal_assets.simulator.payments import PaymentsWorld, Regime

ROWS, BAD = 300, 6
MEASURED = ("drift", "score_drift", "estimated_performance", "performance", "prior")
"""Signals that are about every clean row of one batch."""
WORLD = PaymentsWorld(seed=5)


def small(spec: ModelSpec) -> ModelSpec:
    return replace(
        spec,
        training=replace(spec.training, trials=2, windows=(2,), min_rows=500, max_boost_rounds=20),
        performance=replace(spec.performance, min_rows=100),
        drift=replace(spec.drift, min_rows=100),
        gate=replace(
            spec.gate, metric_floor=0.5, margin=0.3, max_slice_drop=0.6, max_calibration_error=0.5, max_latency_ms=1e4
        ),
    )


def healthy(index: int) -> pd.DataFrame:
    return WORLD.batch(index, ROWS, Regime.HEALTHY)


def partly_bad(index: int) -> pd.DataFrame:
    frame = healthy(index)
    return frame.assign(amount=frame["amount"].mask(frame.index < BAD))


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessLoop]:
    """A model with a champion."""
    with quick_home(tmp_path_factory.mktemp("release") / "home") as services, dg.DagsterInstance.get() as instance:
        loop = InProcessLoop(services, small(load_spec(PROJECT / MODELS / "payments" / "defs.yaml")), instance)
        for index in (0, 1):
            drop(WORLD.batch(index, 700, Regime.HEALTHY), services.batches.landing("payments"), f"{index}.parquet")
        loop.settle()
        assert services.registry.by_alias("payments", "champion"), loop.ticks[-3:]
        yield loop


@pytest.fixture(scope="module")
def held(loop: InProcessLoop) -> dict[str, str]:
    """Batch ids, by name, of what went to quarantine in one run."""
    landing, ids = loop.services.batches.landing("payments"), {}
    names = ["waived", "repaired", "by_job", "failing"]
    frames = {name: partly_bad(index) for index, name in enumerate(names, start=10)}
    frames |= {
        "no_column": healthy(20).drop(columns="distance_km"),
        "ten": healthy(21).head(10),
        "given_up_in_part": partly_bad(22),
    }
    for name, frame in frames.items():
        ids[name] = loop.services.batches.batch_id(drop(frame, landing, f"{name}.parquet"))
    ids["truncated"] = loop.services.batches.batch_id(drop(healthy(23), landing, "truncated.parquet", damage=0.3))
    assert loop.tick("arrivals")
    whole = {"no_column", "ten", "truncated"}
    assert {name: settled(loop, id_).status for name, id_ in ids.items()} == {
        name: "QUARANTINED" if name in whole else "PARTIAL" for name in ids
    }
    return ids


def settled(loop: InProcessLoop, batch_id: str) -> Record:
    return loop.services.ledger.newest("payments", RecordKind.BATCH_SETTLED, subject=batch_id)[0]


def counts(loop: InProcessLoop, batch_id: str) -> tuple[str, int, int, int]:
    """Status, rows landed, clean and quarantined; what is on disk agrees."""
    record, batches = settled(loop, batch_id), loop.services.batches
    landed, clean, bad = (record.payload[f"rows_{name}"] for name in ("landed", "clean", "quarantined"))
    kept = len(batches.read("payments", "clean", batch_id)) if batches.has("payments", "clean", batch_id) else 0
    held_back = batches.read_quarantine("payments", batch_id)[0] if bad else None
    assert landed == clean + bad
    assert kept == clean
    assert bad == (0 if held_back is None else len(held_back))
    return record.status, landed, clean, bad


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """In order of the ids, and with one kind of missing text."""
    texts = frame["original_payment_id"].astype(object).where(frame["original_payment_id"].notna(), None)
    return frame.assign(original_payment_id=texts).sort_values("payment_id", ignore_index=True)


def waivers(loop: InProcessLoop, batch_id: str) -> list[Record]:
    return loop.services.ledger.newest("payments", RecordKind.WAIVER, subject=batch_id, limit=9)


def records(loop: InProcessLoop) -> int:
    return sum(len(loop.services.ledger.after("payments", kind, 0, 10_000)) for kind in RecordKind)


def went_downstream(loop: InProcessLoop, batch_id: str, rows: int) -> bool:
    """Features, scores and every kind of evidence stand for all clean rows, and for this try of the batch alone."""
    batches, ledger = loop.services.batches, loop.services.ledger
    lengths = {stage: len(batches.read("payments", stage, batch_id)) for stage in ("features", "scores")}
    statements = ledger.newest("payments", RecordKind.EVIDENCE, subject=batch_id, limit=99)
    tried_at = max(record.sequence for record in waivers(loop, batch_id))
    sizes = {e.payload["signal"]: e.payload["sample_size"] for e in statements if e.sequence > tried_at}
    return (
        lengths == {"features": rows, "scores": rows}
        and {signal: sizes.get(signal) for signal in MEASURED} == dict.fromkeys(MEASURED, rows)
        and "risk" in sizes
        and "quality" in sizes
        and ledger.open_batches("payments", limit=1) == []
    )


def selfheal(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["quarantine", *arguments], env={"COLUMNS": "250"})


def save(path: Path, frame: pd.DataFrame) -> str:
    frame.to_csv(path, index=False)
    return str(path)


def test_the_list_and_one_of_it_are_shown(loop: InProcessLoop, held: dict[str, str]) -> None:
    listed = selfheal("list", "payments")
    assert listed.exit_code == 0, listed.output
    assert all(batch_id in listed.output for batch_id in held.values())
    shown = selfheal("show", "payments", held["waived"])
    assert shown.exit_code == 0, shown.output
    assert "not_null_payments_amount" in shown.output
    assert str(loop.services.batches.quarantine("payments", held["waived"])) in shown.output.replace("\n", "")
    truncated = selfheal("show", "payments", held["truncated"])
    assert truncated.exit_code == 0
    assert "truncated.parquet" in truncated.output


def test_a_batch_that_is_not_in_quarantine_is_refused(loop: InProcessLoop, held: dict[str, str]) -> None:
    assert held
    clean = loop.services.ledger.newest("payments", RecordKind.BATCH_REGISTERED, limit=99)[-1].subject
    for batch_id, word in (("no-such-batch", "unknown"), (clean, "CLEAN")):
        for command in (["show"], ["release", "--reason", "x", "--waive", "y"], ["discard", "--reason", "x"]):
            refused = selfheal(command[0], "payments", batch_id, *command[1:])
            assert (refused.exit_code, word in refused.output) == (1, True), refused.output


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--reason", "I say so"], "must change something"),
        (["--reason", "I say so", "--waive", "not_nul"], "Only declared checks can be waived; received ['not_nul']"),
        (["--reason", "  ", "--waive", "not_null_payments_amount"], "must say why"),
        (["--reason", "I say so", "--repaired", "no/such/file.csv"], "must be a readable .csv"),
    ],
)
def test_a_release_that_cannot_be_is_refused_and_changes_nothing(
    loop: InProcessLoop, held: dict[str, str], arguments: list[str], word: str
) -> None:
    before, runs = records(loop), loop.instance.get_runs_count()
    refused = selfheal("release", "payments", held["failing"], *arguments)
    assert refused.exit_code == 1
    assert word in refused.output
    assert "Traceback" not in refused.output
    assert (records(loop), loop.instance.get_runs_count()) == (before, runs)
    assert counts(loop, held["failing"]) == ("PARTIAL", ROWS, ROWS - BAD, BAD)


def test_a_waiver_is_recorded_and_lets_the_rows_through(loop: InProcessLoop, held: dict[str, str]) -> None:
    """Also when its partition has been retired since."""
    batch_id = held["waived"]
    loop.instance.delete_dynamic_partition("payments_batches", batch_id)
    said = selfheal(
        "release", "payments", batch_id, "--waive", "not_null_payments_amount", "--reason", "free of charge",
        "--approved-by", "ada",
    )  # fmt: skip
    assert (said.exit_code, said.output.strip()) == (0, f"{batch_id} is now CLEAN")
    assert counts(loop, batch_id) == ("CLEAN", ROWS, ROWS, 0)
    assert went_downstream(loop, batch_id, ROWS)
    (waiver,) = waivers(loop, batch_id)
    assert {name: waiver.payload[name] for name in ("reason", "approved_by", "waive", "attempt")} == {
        "reason": "free of charge",
        "approved_by": "ada",
        "waive": ["not_null_payments_amount"],
        "attempt": 1,
    }
    assert batch_id not in selfheal("list", "payments").output
    retired = loop.services.batches.quarantine("payments", batch_id).parent / ".retired"
    assert len(pd.read_parquet(retired / f"{batch_id}.1" / "rows.parquet")) == BAD


def test_repaired_rows_replace_those_in_quarantine(loop: InProcessLoop, held: dict[str, str], tmp_path: Path) -> None:
    batch_id = held["repaired"]
    repaired = save(tmp_path / "repaired rows.csv", healthy(11).head(BAD))
    said = selfheal("release", "payments", batch_id, "--repaired", repaired, "--reason", "resent by the bank")
    assert said.exit_code == 0, said.output
    assert counts(loop, batch_id) == ("CLEAN", ROWS, ROWS, 0)
    assert went_downstream(loop, batch_id, ROWS)
    clean = loop.services.batches.read("payments", "clean", batch_id)
    pd.testing.assert_frame_equal(plain(clean), plain(healthy(11)), check_dtype=False)


def test_a_file_that_could_not_be_read_is_repaired_whole(
    loop: InProcessLoop, held: dict[str, str], tmp_path: Path
) -> None:
    batch_id = held["truncated"]
    repaired = save(tmp_path / "whole.csv", healthy(23))
    assert selfheal("release", "payments", batch_id, "--repaired", repaired, "--reason", "sent again").exit_code == 0
    assert counts(loop, batch_id) == ("CLEAN", ROWS, ROWS, 0)
    assert went_downstream(loop, batch_id, ROWS)
    retired = loop.services.batches.quarantine("payments", batch_id).parent / ".retired" / f"{batch_id}.1"
    assert (retired / "original" / "bytes.parquet").read_bytes()[:4] == b"PAR1"


def test_a_release_that_fails_again_stays_then_a_good_one_ends_it(
    loop: InProcessLoop, held: dict[str, str], tmp_path: Path
) -> None:
    batch_id = held["no_column"]
    same = save(tmp_path / "again.csv", healthy(20).drop(columns="distance_km"))
    said = selfheal("release", "payments", batch_id, "--reason", "try", "--repaired", same)
    assert said.output.strip() == f"{batch_id} is now QUARANTINED"
    assert counts(loop, batch_id) == ("QUARANTINED", ROWS, 0, ROWS)
    checks = [check.name for check in loop.services.declared_checks(loop.spec)]
    everything = [argument for name in checks for argument in ("--waive", name)]
    said = selfheal("release", "payments", batch_id, "--reason", "whatever it takes", *everything)
    assert said.output.strip() == f"{batch_id} is now QUARANTINED"
    assert "must be there, whatever is waived" in settled(loop, batch_id).payload["reasons"][0]
    assert not loop.services.batches.has("payments", "features", batch_id)
    repaired = save(tmp_path / "good.csv", healthy(20))
    assert selfheal("release", "payments", batch_id, "--reason", "found it", "--repaired", repaired).exit_code == 0
    assert counts(loop, batch_id) == ("CLEAN", ROWS, ROWS, 0)
    assert went_downstream(loop, batch_id, ROWS)
    assert [w.payload["attempt"] for w in waivers(loop, batch_id)] == [3, 2, 1]


def test_a_release_that_fails_takes_nothing_from_the_clean_rows(
    loop: InProcessLoop, held: dict[str, str], tmp_path: Path
) -> None:
    batch_id = held["failing"]
    wrong = save(tmp_path / "wrong.csv", healthy(13).head(BAD).assign(loyalty="gold"))
    said = selfheal("release", "payments", batch_id, "--repaired", wrong, "--reason", "try")
    assert said.output.strip() == f"{batch_id} is now PARTIAL"
    assert counts(loop, batch_id) == ("PARTIAL", ROWS, ROWS - BAD, BAD)
    assert "the release failed" in settled(loop, batch_id).payload["reasons"][0]
    assert "loyalty" in selfheal("show", "payments", batch_id).output
    still_bad = save(tmp_path / "half.csv", pd.concat([healthy(13).head(BAD - 2), partly_bad(13).iloc[BAD - 2 : BAD]]))
    selfheal("release", "payments", batch_id, "--repaired", still_bad, "--reason", "some of them")
    assert counts(loop, batch_id) == ("PARTIAL", ROWS, ROWS - 2, 2)
    assert went_downstream(loop, batch_id, ROWS - 2)


def test_the_job_does_the_same_by_its_run_config(loop: InProcessLoop, held: dict[str, str]) -> None:
    batch_id, before = held["by_job"], records(loop)

    def run(**config: Any) -> bool:
        ops = {"payments__checked_batch": {"config": config}}
        return loop.run("release_quarantine", partition_key=batch_id, run_config={"ops": ops})

    assert not run(waive=["not_null_payments_amount"])
    assert not run(reason="x", waive=["no_such_check"])
    assert records(loop) == before
    assert counts(loop, batch_id) == ("PARTIAL", ROWS, ROWS - BAD, BAD)
    assert run(reason="free of charge", approved_by="ada", waive=["not_null_payments_amount"])
    assert counts(loop, batch_id) == ("CLEAN", ROWS, ROWS, 0)
    assert went_downstream(loop, batch_id, ROWS)
    assert len(waivers(loop, batch_id)) == 1


def test_discarding_gives_up_what_is_in_quarantine_and_no_more(loop: InProcessLoop, held: dict[str, str]) -> None:
    for name, becomes, clean in (("ten", "DISCARDED", 0), ("given_up_in_part", "CLEAN", ROWS - BAD)):
        batch_id, batches = held[name], loop.services.batches
        assert selfheal("discard", "payments", batch_id, "--reason", "a test file").exit_code == 0
        record = settled(loop, batch_id)
        assert (record.status, record.payload["rows_clean"]) == (becomes, clean)
        assert record.payload["reasons"] == ["discarded: a test file"]
        assert batches.has("payments", "clean", batch_id) == bool(clean)
        retired = batches.quarantine("payments", batch_id).parent / ".retired" / f"{batch_id}.1" / "rows.parquet"
        assert len(pd.read_parquet(io.BytesIO(retired.read_bytes()))) == record.payload["rows_quarantined"]
        with pytest.raises(BatchError, match="must be in quarantine"):
            release(loop.services, loop.spec, batch_id, reason="x", approved_by="", waive=["unique_x"], repaired=None)


def test_only_what_failed_is_left_and_nothing_is_open(loop: InProcessLoop, held: dict[str, str]) -> None:
    """After all the above."""
    assert [record.subject for record in quarantined(loop.services, loop.spec)] == [held["failing"]]
    assert loop.services.ledger.open_batches("payments", limit=9) == []
    assert loop.tick("arrivals") == []


def test_what_was_released_is_no_bad_data_any_more(loop: InProcessLoop, held: dict[str, str]) -> None:
    """An incident that opens now is about what is still in quarantine, or was given up."""
    loop.tick("drift_sensor")
    (case,) = (c for c in story.case_files(loop.services, loop.spec) if c.incident.cause is Cause.BAD_DATA)
    released = {held[name] for name in ("waived", "repaired", "by_job", "truncated", "no_column")}
    assert held["failing"] in case.incident.batch_ids
    assert released.isdisjoint(case.incident.batch_ids)
    (decision,) = case.decisions
    assert (decision.payload["action"], decision.status) == (Action.QUARANTINE, "DECIDED")
