"""Each fault does what it says to the rows, leaves its input alone, and knows its truth."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from selfheal_assets.core.errors import SpecError
from selfheal_assets.simulator.faults import FAULTS, FileEffect, fault_named
from selfheal_assets.simulator.payment_draws import CATEGORIES
from selfheal_assets.simulator.payments import PaymentsWorld, Regime

TRUTH = {
    "none": {"healthy", "late_data"},
    "bad_data": {
        *("bad_rows", "null_burst", "unit_change", "renamed_column", "extra_column", "missing_column", "new_category"),
        *("duplicated_batch", "truncated_file", "stale_data", "small_batch", "label_flip", "one_class"),
    },
    "benign_drift": {"benign_shift"},
    "harmful_drift": {"harmful_shift"},
    "concept_drift": {"concept_change", "gradual_concept"},
}
ROWS = PaymentsWorld().batch(3, 2_000, Regime.HEALTHY)


def damaged(name: str, frame: pd.DataFrame = ROWS, seed: int = 1) -> pd.DataFrame:
    apply = FAULTS[name].apply
    assert apply is not None
    return apply(frame, np.random.default_rng(seed))


def changed_columns(frame: pd.DataFrame) -> set[str]:
    return {name for name in ROWS if not frame[name].equals(ROWS[name])}


def test_the_truth_table_is_complete() -> None:
    assert {name: fault.cause for name, fault in FAULTS.items()} == {
        name: cause for cause, names in TRUTH.items() for name in names
    }
    assert all(name == fault.name and fault.description for name, fault in FAULTS.items())


def test_every_fault_but_the_healthy_one_has_an_effect() -> None:
    for name, fault in FAULTS.items():
        effects = (fault.apply is not None, fault.regime is not Regime.HEALTHY, fault.file_effect is not None)
        assert sum(effects) == (name != "healthy")
    assert {fault.regime for fault in FAULTS.values()} == set(Regime)
    assert {fault.file_effect for fault in FAULTS.values()} == {None, *FileEffect}


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.apply])
@pytest.mark.parametrize("rows", [1, 2_000])
def test_damage_is_deterministic_and_leaves_its_input_alone(name: str, rows: int) -> None:
    frame = ROWS.head(rows)
    before = frame.copy(deep=True)
    first = damaged(name, frame)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(first, damaged(name, frame))
    assert 1 <= len(first) <= rows


@pytest.mark.parametrize("seed", range(5))
def test_bad_rows_lack_amount_or_device(seed: int) -> None:
    frame = damaged("bad_rows", seed=seed)
    bad = frame[["amount", "device"]].isna()
    assert 0.02 <= bad.any(axis=1).mean() <= 0.03
    assert not bad.all(axis=1).any()
    assert bad.any().all()
    assert changed_columns(frame) == {"amount", "device"}


def test_null_burst_is_one_stretch_of_two_fifths() -> None:
    frame = damaged("null_burst")
    lost = frame["distance_km"].isna()
    assert lost.equals(frame["device"].isna())
    assert lost.mean() == pytest.approx(0.4)
    assert lost.astype(int).diff().abs().sum() <= 2
    assert changed_columns(frame) == {"distance_km", "device"}


def test_unit_change_is_a_hundredfold() -> None:
    frame = damaged("unit_change")
    assert np.allclose(frame["amount"], ROWS["amount"] * 100)
    assert changed_columns(frame) == {"amount"}


def test_columns_are_renamed_added_and_missing() -> None:
    renamed, extra, missing = (damaged(f"{kind}_column") for kind in ("renamed", "extra", "missing"))
    assert set(renamed) ^ set(ROWS) == {"amount", "amount_eur"}
    assert renamed["amount_eur"].equals(ROWS["amount"].rename("amount_eur"))
    assert set(extra) - set(ROWS) == {"loyalty_tier"}
    assert set(ROWS) - set(missing) == {"distance_km"}


def test_new_category_is_in_a_tenth_of_the_rows() -> None:
    frame = damaged("new_category")
    assert set(frame["merchant_category"]) - set(CATEGORIES) == {"gambling"}
    assert frame["merchant_category"].eq("gambling").mean() == pytest.approx(0.1)


def test_stale_data_is_three_years_old() -> None:
    frame = damaged("stale_data")
    assert (ROWS["event_timestamp"] - frame["event_timestamp"] == timedelta(days=1_095)).all()
    assert frame["event_timestamp"].dtype == ROWS["event_timestamp"].dtype
    assert changed_columns(frame) == {"event_timestamp"}


def test_small_batch_is_ten_rows() -> None:
    pd.testing.assert_frame_equal(damaged("small_batch"), ROWS.head(10))


def test_labels_are_flipped_and_reduced_to_one_class() -> None:
    flipped, one_class = damaged("label_flip"), damaged("one_class")
    assert (flipped["is_fraud"] != ROWS["is_fraud"]).mean() == pytest.approx(0.3)
    assert set(flipped["is_fraud"]) == {0, 1}
    assert set(one_class["is_fraud"]) == {0}
    assert changed_columns(flipped) == changed_columns(one_class) == {"is_fraud"}


def test_an_unknown_fault_is_refused_with_the_choices() -> None:
    with pytest.raises(SpecError, match=r"bad_rows.*received 'bad_row'"):
        fault_named("bad_row")
