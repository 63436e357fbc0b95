"""Frames as they come from the feature store, compared column by column by the real SciPy adapter."""

import dataclasses
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from selfheal_assets.adapters.scipy_drift import ScipyDriftDetector
from selfheal_assets.core.drift_feature import FeatureDrift
from selfheal_assets.core.errors import DetectorError
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.model_spec import DataSpec, DriftSpec, FeaturesSpec, ModelSpec
from selfheal_assets.ports import TwoSampleTest
from selfheal_assets.stages.drift_frames import BATCH_ROWS, column_values, compare_frames, compare_scores

SPEC = ModelSpec(
    name="payments",
    description="d",
    owners=("team:risk",),
    data=DataSpec(event_id="id", event_timestamp="at", label="fraud", entities=("account",)),
    features=FeaturesSpec(service="s", categorical=("colour", "plan")),
    drift=DriftSpec(detector="scipy", reference_rows=1_000),
)


class Recorder(ScipyDriftDetector):
    """The real adapter, which also remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[pd.DataFrame, pd.DataFrame, list[str]]] = []

    def compare(
        self, reference: pd.DataFrame, batch: pd.DataFrame, categorical: Sequence[str]
    ) -> dict[str, TwoSampleTest]:
        self.calls.append((reference, batch, list(categorical)))
        return super().compare(reference, batch, categorical)


def frame(seed: int, rows: int = 600, shift: float = 0.0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": generator.normal(shift, 1.0, rows),
            "count": generator.poisson(3.0, rows),
            "colour": generator.choice(["red", "blue"], rows),
            "plan": generator.choice([1, 2, 3], rows),
        }
    )


def by_name(reference: pd.DataFrame, batch: pd.DataFrame, **importance: float) -> dict[str, FeatureDrift]:
    found = compare_frames(SPEC, ScipyDriftDetector(), reference, batch, importance)
    return {feature.feature: feature for feature in found.features}


def test_the_same_world_is_clear_and_a_moved_one_is_raised() -> None:
    still = compare_frames(SPEC, ScipyDriftDetector(), frame(1), frame(2), {})
    assert still.status is Status.CLEAR
    assert {f.feature: f.categorical for f in still.features} == {
        "amount": False, "count": False, "colour": True, "plan": True,
    }  # fmt: skip
    moved = compare_frames(SPEC, ScipyDriftDetector(), frame(1), frame(2, shift=1.0), {"amount": 0.5})
    assert moved.status is Status.RAISED
    assert moved.features[0].feature == "amount"
    assert moved.features[0].importance == 0.5


def test_whole_columns_are_asked_together_and_those_with_holes_alone() -> None:
    detector, batch = Recorder(), frame(2)
    batch.loc[:19, "amount"] = np.nan
    batch.loc[:9, "colour"] = None
    found = compare_frames(SPEC, detector, frame(1), batch, {})
    asked = [(list(reference.columns), len(rows), categorical) for reference, rows, categorical in detector.calls]
    assert sorted(asked) == [(["amount"], 580, []), (["colour"], 590, ["colour"]), (["count", "plan"], 600, ["plan"])]
    assert all(not side.isna().any().any() for call in detector.calls for side in call[:2])
    assert found.status is Status.CLEAR


def test_a_feature_with_too_few_values_is_not_asked_about() -> None:
    detector, reference, batch = Recorder(), frame(1), frame(2)
    reference.loc[:499, "amount"] = np.nan
    batch.loc[:499, "amount"] = np.nan
    found = compare_frames(SPEC, detector, reference, batch, {})
    assert not any("amount" in asked.columns for asked, _, _ in detector.calls)
    assert {f.feature for f in found.features if f.status is Status.UNKNOWN} == {"amount"}


@pytest.mark.parametrize("rows", [0, 1, 199])
def test_a_small_batch_is_unknown_and_nothing_is_asked(rows: int) -> None:
    detector = Recorder()
    found = compare_frames(SPEC, detector, frame(1), frame(2, shift=9.0).head(rows), {})
    assert (found.status, found.rows, found.value, detector.calls) == (Status.UNKNOWN, rows, None, [])


def test_samples_are_bounded_and_the_same_each_time() -> None:
    detector = Recorder()
    big = frame(1, 2_500), frame(2, BATCH_ROWS + 1)
    first, second = (compare_frames(SPEC, detector, *big, {}) for _ in range(2))
    assert first == second
    assert first.rows == BATCH_ROWS
    assert [(len(a), len(b)) for a, b, _ in detector.calls] == [(1_000, BATCH_ROWS)] * 2
    smaller = dataclasses.replace(SPEC, drift=DriftSpec(reference_rows=300))
    compare_frames(smaller, detector, *big, {})
    assert len(detector.calls[-1][0]) == 300


def test_a_column_that_the_batch_lacks_is_wholly_missing_and_others_are_not_looked_at() -> None:
    batch = frame(2).drop(columns=["amount", "colour"]).assign(extra=1.0)
    found = by_name(frame(1), batch)
    assert set(found) == {"amount", "count", "colour", "plan"}
    assert {name for name, feature in found.items() if feature.status is Status.RAISED} == {"amount", "colour"}
    assert "every value of the batch is missing" in found["colour"].reason


def test_the_order_of_the_columns_does_not_matter() -> None:
    reference, batch = frame(1), frame(2, shift=0.5)
    turned = compare_frames(SPEC, ScipyDriftDetector(), reference[reference.columns[::-1]], batch, {})
    assert turned == compare_frames(SPEC, ScipyDriftDetector(), reference, batch, {})


def test_a_whole_number_category_that_became_a_float_by_one_gap_is_the_same_category() -> None:
    batch = frame(2)
    batch["plan"] = batch["plan"].astype(float)
    batch.loc[0, "plan"] = np.nan
    for as_text in (False, True):
        reference = frame(1).astype({"plan": str}) if as_text else frame(1)
        assert by_name(reference, batch)["plan"].status is Status.CLEAR
        assert by_name(reference, batch)["plan"].unseen == ()


def test_words_in_a_numeric_column_are_missing() -> None:
    batch = frame(2).astype({"amount": object})
    batch.loc[:99, "amount"] = "n/a"
    found = by_name(frame(1), batch)["amount"]
    assert found.status is Status.RAISED
    assert found.missing_batch == pytest.approx(100 / 600)


def test_a_column_named_twice_is_refused() -> None:
    doubled = pd.concat([frame(1), frame(1)[["plan"]]], axis=1)
    for pair in ((doubled, frame(2)), (frame(2), doubled)):
        with pytest.raises(DetectorError, match="plan"):
            compare_frames(SPEC, ScipyDriftDetector(), *pair, {})


def test_scores_are_one_numeric_feature() -> None:
    generator, detector = np.random.default_rng(0), Recorder()
    reference, batch = generator.beta(1, 8, 900), generator.beta(3, 8, 700)
    found = compare_scores(SPEC, detector, reference, batch)
    assert (found.status, found.rows, len(found.features)) == (Status.RAISED, 700, 1)
    assert [(list(asked.columns), categorical) for asked, _, categorical in detector.calls] == [(["score"], [])]
    assert compare_scores(SPEC, detector, reference, reference).status is Status.CLEAR
    assert compare_scores(SPEC, detector, reference, batch[:50]).status is Status.UNKNOWN
    assert compare_scores(SPEC, detector, reference, np.full(700, np.nan)).status is Status.RAISED


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series([1, None], dtype="Int64"), [1.0, math.nan]),
        (pd.Series([True, None], dtype="boolean"), [1.0, math.nan]),
        (pd.Series([True, None], dtype=object), [1.0, math.nan]),
        (pd.Series([Decimal("1.5"), None]), [1.5, math.nan]),
        (pd.Series(["1.5", "x"]), [1.5, math.nan]),
        (pd.Series([1, 2], dtype="category"), [1.0, 2.0]),
        (pd.Series([10**400, 1], dtype=object), [math.nan, 1.0]),
        (pd.Series(pd.to_datetime(["2026-01-01", None], utc=True)), [math.nan, math.nan]),
        (pd.Series([[1], {}]), [math.nan, math.nan]),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_any_kind_of_column_is_read_as_numbers(values: pd.Series, expected: list[float]) -> None:
    np.testing.assert_array_equal(column_values(pd.DataFrame({"x": values}), "x", False), expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series(["a", None], dtype="string"), ["a", None]),
        (pd.Series(["a", np.nan], dtype="category"), ["a", None]),
        (pd.Series([1.0, 2.5, np.nan]), ["1", "2.5", None]),
        (pd.Series([1, pd.NA], dtype="Int64"), ["1", None]),
        (pd.Series([True, False]), ["True", "False"]),
        (pd.Series([math.inf, None], dtype=object), ["inf", None]),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_any_kind_of_column_is_read_as_categories(values: pd.Series, expected: list[Any]) -> None:
    assert column_values(pd.DataFrame({"x": values}), "x", True).tolist() == expected
