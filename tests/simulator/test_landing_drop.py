"""Files appear in landing whole and once, with microsecond UTC times; a plan is dropped in order with its truth."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfheal_assets.core.errors import BatchError, SpecError
from selfheal_assets.simulator.faults import FAULTS
from selfheal_assets.simulator.landing import Dropped, drop, simulate
from selfheal_assets.simulator.payment_draws import WINDOW
from selfheal_assets.simulator.payments import EPOCH, PaymentsWorld, Regime, window_start

WORLD = PaymentsWorld(accounts=50)
FRAME = WORLD.batch(0, 40, Regime.HEALTHY)


def dropped(folder: Path, *plan: tuple[int, str], **options: Regime) -> list[Dropped]:
    return list(simulate(WORLD, plan, 60, folder, **options))


def test_parquet_comes_back_equal_in_microseconds_utc(tmp_path: Path) -> None:
    nanoseconds = FRAME.assign(event_timestamp=FRAME["event_timestamp"].dt.as_unit("ns").dt.tz_convert("Asia/Tokyo"))
    path = drop(nanoseconds, tmp_path / "new" / "folder", "b.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(path), FRAME)
    schema = pq.read_schema(path)
    assert schema.field("event_timestamp").type == pa.timestamp("us", tz="UTC")
    assert schema.field("original_payment_id").type in (pa.string(), pa.large_string())


def test_csv_comes_back_equal(tmp_path: Path) -> None:
    whole_second = FRAME.copy()
    whole_second.loc[0, "event_timestamp"] = pd.Timestamp(EPOCH)
    path = drop(whole_second, tmp_path, "Zahlungen März 1.csv")
    back = pd.read_csv(path, parse_dates=["event_timestamp"])
    assert (back["event_timestamp"] == whole_second["event_timestamp"]).all()
    assert list(back) == list(FRAME)
    assert back["amount"].equals(FRAME["amount"])


def test_the_file_is_complete_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        seen.append((source.name, pd.read_parquet(source).equals(FRAME)))
        assert os.listdir(tmp_path) == [source.name]
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    path = drop(FRAME, tmp_path, "b.parquet")
    assert [complete for _, complete in seen] == [True]
    assert seen[0][0].startswith(".")
    assert os.listdir(tmp_path) == [path.name]


def test_a_landed_file_is_never_replaced(tmp_path: Path) -> None:
    path = drop(FRAME, tmp_path, "b.csv")
    before = path.read_bytes()
    with pytest.raises(BatchError, match=r"received 'b\.csv'.*exists"):
        drop(FRAME.head(3), tmp_path, "b.csv")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["b.csv"]


@pytest.mark.parametrize("name", ["../b.csv", "a/b.csv", ".b.csv", "", "/b.csv", "b.txt", "b"])
def test_names_that_are_no_landed_file_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match="received"):
        drop(FRAME, tmp_path, name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["x" * 300 + ".csv", "nul\0.csv"])
def test_names_that_the_disk_refuses_leave_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(BatchError, match="received"):
        drop(FRAME, tmp_path, name)
    assert os.listdir(tmp_path) == []


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="must be a table"):
        drop(pd.DataFrame({"mixed": [1, "a", object()]}), tmp_path, "b.parquet")
    with pytest.raises(SpecError, match="share between 0 and 1"):
        drop(FRAME, tmp_path, "b.parquet", damage=1.0)
    assert os.listdir(tmp_path) == []


def test_every_fault_is_dropped_in_order_with_its_truth(tmp_path: Path) -> None:
    plan = [(index, name) for index, name in enumerate(FAULTS)]
    files = dropped(tmp_path, *plan)
    assert [(one.index, one.fault) for one in files] == plan
    assert [one.cause for one in files] == [fault.cause for fault in FAULTS.values()]
    assert [one.path.name for one in files] == [f"payments-{index:04d}.parquet" for index, _ in plan]
    assert sorted(os.listdir(tmp_path)) == [one.path.name for one in files]
    for one in files:
        if one.fault != "truncated_file":
            assert len(pd.read_parquet(one.path)) == one.rows == (10 if one.fault == "small_batch" else 60)


def test_the_same_plan_gives_the_same_bytes(tmp_path: Path) -> None:
    plan = [(index, name) for index, name in enumerate(FAULTS)]
    first, second = dropped(tmp_path / "a", *plan), dropped(tmp_path / "b", *plan)
    assert [one.path.read_bytes() for one in first] == [one.path.read_bytes() for one in second]


def test_truncated_file_is_unreadable_and_its_start_is_intact(tmp_path: Path) -> None:
    whole, cut = dropped(tmp_path / "a", (4, "healthy")) + dropped(tmp_path / "b", (4, "truncated_file"))
    assert whole.path.read_bytes().startswith(cut.path.read_bytes())
    assert 0 < cut.path.stat().st_size < whole.path.stat().st_size
    with pytest.raises(pa.ArrowInvalid):
        pq.read_table(cut.path)


def test_duplicated_batch_repeats_the_last_undamaged_one(tmp_path: Path) -> None:
    files = dropped(tmp_path, (1, "healthy"), (2, "unit_change"), (3, "duplicated_batch"))
    assert files[2].path.read_bytes() == files[0].path.read_bytes()
    alone = dropped(tmp_path / "alone", (2, "duplicated_batch"))
    assert alone[0].path.read_bytes() == files[0].path.read_bytes()


def test_late_data_has_new_rows_of_an_older_window(tmp_path: Path) -> None:
    _, late = dropped(tmp_path, (9, "healthy"), (10, "late_data"))
    frame = pd.read_parquet(late.path)
    assert frame["event_timestamp"].between(window_start(2), window_start(3)).all()
    assert frame["payment_id"].str.startswith("p-10-").all()


def test_usual_is_the_world_under_other_faults(tmp_path: Path) -> None:
    healthy, benign = dropped(tmp_path, (5, "healthy"), (6, "benign_shift"), usual=Regime.HARMFUL_SHIFT)
    pd.testing.assert_frame_equal(pd.read_parquet(healthy.path), WORLD.batch(5, 60, Regime.HARMFUL_SHIFT))
    pd.testing.assert_frame_equal(pd.read_parquet(benign.path), WORLD.batch(6, 60, Regime.BENIGN_SHIFT))
    assert healthy.cause == "none"


def test_epoch_moves_every_window(tmp_path: Path) -> None:
    later = EPOCH + 100 * WINDOW
    (one,) = simulate(WORLD, [(2, "healthy")], 30, tmp_path, epoch=later)
    assert pd.read_parquet(one.path)["event_timestamp"].min() >= later + 2 * WINDOW


@pytest.mark.parametrize("plan", [[(0, "healthy"), (1, "helthy")], [(0, "duplicated_batch")]])
def test_an_impossible_plan_is_refused_before_anything_is_dropped(tmp_path: Path, plan: list[tuple[int, str]]) -> None:
    with pytest.raises(SpecError, match="received"):
        simulate(WORLD, plan, 30, tmp_path)
    assert os.listdir(tmp_path) == []


def test_drops_wait_until_they_are_asked_for(tmp_path: Path) -> None:
    files = simulate(WORLD, [(0, "healthy"), (1, "bad_rows")], 200, tmp_path)
    assert os.listdir(tmp_path) == []
    next(files)
    assert len(os.listdir(tmp_path)) == 1
    bad = pd.read_parquet(next(files).path)
    assert np.count_nonzero(bad[["amount", "device"]].isna().any(axis=1)) in (4, 5, 6)
