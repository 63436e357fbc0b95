"""Batches from the prediction log, through the real ingest: the answers are kept apart, and the events go their way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from quick_home import quick_home
from typer.testing import CliRunner

from selfheal_assets.cli import app
from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.core.served_columns import is_reserved
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.ports import FrameRows
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.simulator.landing import drop
from selfheal_assets.simulator.payments import PaymentsWorld, Regime
from selfheal_assets.stages.served_rows import event_rows

ROWS, BAD = 100, 4
WORLD = PaymentsWorld(seed=3)


def events(index: int) -> pd.DataFrame:
    return WORLD.batch(index, ROWS, Regime.HEALTHY)


def served(frame: pd.DataFrame) -> pd.DataFrame:
    """As the prediction log lands it."""
    place = frame.reset_index(drop=True).index
    return frame.assign(
        selfheal_score=place / len(frame),
        selfheal_version=["4" if number % 4 == 0 else "3" for number in place],
        selfheal_arm="champion",
        selfheal_level=["default" if number < 10 else "live" for number in place],
        selfheal_feature_amount_mean=place * 1.5,
    )


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessLoop]:
    """A model without a champion, and its ingest."""
    with quick_home(tmp_path_factory.mktemp("served") / "home") as services, dg.DagsterInstance.get() as instance:
        yield InProcessLoop(services, load_spec(PROJECT / MODELS / "payments" / "defs.yaml"), instance)


@pytest.fixture(scope="module")
def ingested(loop: InProcessLoop) -> dict[str, str]:
    """Batch ids by name, after one run."""
    landing = loop.services.batches.landing("payments")
    partly_bad = events(1)
    frames = {
        "good": served(events(0)),
        "partly_bad": served(partly_bad.assign(amount=partly_bad["amount"].mask(partly_bad.index < BAD))),
        "plain": events(2),
        "no_id": served(events(3)).drop(columns="payment_id"),
        "held": served(events(5)).drop(columns="distance_km"),
        "unlabelled": served(events(6)).drop(columns="is_fraud"),
    }
    ids = {name: loop.services.batches.batch_id(drop(f, landing, f"{name}.parquet")) for name, f in frames.items()}
    ids["torn"] = loop.services.batches.batch_id(drop(served(events(4)), landing, "torn.parquet", damage=0.3))
    assert loop.tick("arrivals")
    return ids


def status(loop: InProcessLoop, batch_id: str) -> str:
    return loop.services.ledger.newest("payments", RecordKind.BATCH_SETTLED, subject=batch_id)[0].status


def kept(loop: InProcessLoop, batch_id: str) -> pd.DataFrame:
    return loop.services.batches.read("payments", "served", batch_id).sort_values("payment_id", ignore_index=True)


def told(frame: pd.DataFrame) -> pd.DataFrame:
    """The event ids and the answers of a landed frame."""
    columns = ["payment_id", *[name for name in frame.columns if is_reserved(name)]]
    return frame[columns].sort_values("payment_id", ignore_index=True)


def selfheal(*arguments: str) -> None:
    ended = CliRunner().invoke(app, ["quarantine", *arguments], env={"COLUMNS": "250"})
    assert ended.exit_code == 0, ended.output


def materialized(loop: InProcessLoop, batch_id: str) -> dict[str, Any]:
    event = loop.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(["payments", "raw_batch"]), asset_partitions=[batch_id]), limit=1
    ).records[0]
    assert event.asset_materialization
    return dict(event.asset_materialization.metadata)


def test_the_answers_are_kept_apart_and_the_events_pass_the_checks(
    loop: InProcessLoop, ingested: dict[str, str]
) -> None:
    batch_id = ingested["good"]
    assert status(loop, batch_id) == "CLEAN"
    clean = loop.services.batches.read("payments", "clean", batch_id)
    assert list(clean.columns) == list(events(0).columns)
    assert len(clean) == ROWS
    pd.testing.assert_frame_equal(kept(loop, batch_id), told(served(events(0))), check_dtype=False)
    raw = loop.services.batches.read("payments", "raw", batch_id)
    assert list(raw.columns) == list(served(events(0)).columns), "the raw batch is what landed"


def test_the_run_shows_who_answered_and_from_where(loop: InProcessLoop, ingested: dict[str, str]) -> None:
    metadata = materialized(loop, ingested["good"])
    versions = {r.data["version"]: r.data["rows"] for r in metadata["served_by_version"].records}
    levels = {r.data["level"]: r.data["rows"] for r in metadata["served_by_level"].records}
    assert (versions, levels) == ({"3": 75, "4": 25}, {"live": 90, "default": 10})
    assert not [name for name in metadata["head"].records[0].data if is_reserved(name)]


def test_a_batch_that_was_not_served_is_untouched(loop: InProcessLoop, ingested: dict[str, str]) -> None:
    batch_id = ingested["plain"]
    assert status(loop, batch_id) == "CLEAN"
    assert not loop.services.batches.has("payments", "served", batch_id)
    assert "served_by_version" not in materialized(loop, batch_id)
    rows = FrameRows(events(2))
    assert event_rows(loop.services, loop.spec, batch_id, rows) is rows


def test_answers_without_an_event_id_stay_in_the_raw_batch(loop: InProcessLoop, ingested: dict[str, str]) -> None:
    batch_id = ingested["no_id"]
    assert status(loop, batch_id) == "QUARANTINED"
    assert not loop.services.batches.has("payments", "served", batch_id)
    assert "selfheal_score" in loop.services.batches.read("payments", "raw", batch_id)


def test_rows_in_quarantine_keep_their_answers_on_the_way_back(
    loop: InProcessLoop, ingested: dict[str, str], tmp_path: Path
) -> None:
    """Waived, or repaired by a file that has the event's columns alone."""
    batch_id = ingested["partly_bad"]
    assert status(loop, batch_id) == "PARTIAL"
    rows, _ = loop.services.batches.read_quarantine("payments", batch_id)
    assert rows is not None
    assert not [name for name in rows.columns if is_reserved(name)]
    repaired = tmp_path / "repaired.csv"
    events(1).head(BAD).to_csv(repaired, index=False)
    selfheal("release", "payments", batch_id, "--reason", "sent again", "--repaired", str(repaired))
    assert status(loop, batch_id) == "CLEAN"
    assert len(loop.services.batches.read("payments", "clean", batch_id)) == ROWS
    pd.testing.assert_frame_equal(kept(loop, batch_id), told(served(events(1))), check_dtype=False)


def test_a_repaired_file_may_bring_answers(loop: InProcessLoop, ingested: dict[str, str], tmp_path: Path) -> None:
    """Of a file whose bytes were no table there are none yet; of others they replace what was kept of the event."""
    whole, some = tmp_path / "whole.csv", tmp_path / "some.csv"
    served(events(4)).to_csv(whole, index=False)
    selfheal("release", "payments", ingested["torn"], "--reason", "sent again", "--repaired", str(whole))
    assert status(loop, ingested["torn"]) == "CLEAN"
    answers = kept(loop, ingested["torn"])
    assert answers["selfheal_score"].astype(float).sum() == pytest.approx((ROWS - 1) / 2)
    corrected = served(events(5)).assign(selfheal_score=0.5)
    corrected.loc[0, "selfheal_feature_amount_mean"] = 7.0
    corrected.to_csv(some, index=False)
    selfheal("release", "payments", ingested["held"], "--reason", "with the column", "--repaired", str(some))
    assert status(loop, ingested["held"]) == "CLEAN"
    pd.testing.assert_frame_equal(kept(loop, ingested["held"]), told(corrected), check_dtype=False)


def test_a_server_does_not_know_the_outcome(loop: InProcessLoop, ingested: dict[str, str]) -> None:
    assert status(loop, ingested["unlabelled"]) == "CLEAN"
    clean = loop.services.batches.read("payments", "clean", ingested["unlabelled"])
    assert len(clean) == ROWS
    assert clean["is_fraud"].isna().all()
