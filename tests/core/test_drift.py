"""When columns are evidence of drift: the rules one by one, and what holds for any columns."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, ks_2samp

from selfheal_assets.core.drift import DriftAssessment, assess_drift
from selfheal_assets.core.drift_column import ComparedColumn
from selfheal_assets.core.drift_feature import FeatureDrift
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.model_spec import DriftSpec

SPEC = DriftSpec()
RAISED, CLEAR, UNKNOWN = Status.RAISED, Status.CLEAR, Status.UNKNOWN
NAN = float("nan")


@dataclass(frozen=True)
class Answer:
    test: str
    statistic: float
    p_value: float


def column(feature: str, reference: Any, batch: Any, importance: float | None = None) -> ComparedColumn:
    """Lists with text become a categorical column, numbers a numeric one."""
    categorical = any(isinstance(value, str) for value in (*reference, *batch))
    before, after = (np.array(side, dtype=object if categorical else np.float64) for side in (reference, batch))
    return ComparedColumn(
        feature=feature, categorical=categorical, reference=before, batch=after, importance=importance
    )


def answer(of: ComparedColumn) -> Answer:
    before, after = of.complete_reference, of.complete_batch
    if not len(before) or not len(after):
        return Answer("none", NAN, NAN)
    if not of.categorical:
        found = ks_2samp(before, after, method="asymp")
        return Answer("kolmogorov_smirnov", float(found.statistic), float(found.pvalue))
    names = sorted({*before, *after})
    found = chi2_contingency([[int((side == name).sum()) for name in names] for side in (before, after)])
    return Answer("chi_squared", float(found.statistic), float(found.pvalue))


def assess(*columns: ComparedColumn, spec: DriftSpec = SPEC) -> DriftAssessment:
    return assess_drift(spec, columns, {each.feature: answer(each) for each in columns})


def only(assessment: DriftAssessment) -> FeatureDrift:
    (feature,) = assessment.features
    return feature


def normal(seed: int, rows: int = 500, shift: float = 0.0) -> list[float]:
    return list(np.random.default_rng(seed).normal(shift, 1.0, rows))


def holed(values: Sequence[Any], missing: int, hole: Any = NAN) -> list[Any]:
    return [hole] * missing + list(values)[missing:]


COLOURS = ["red"] * 250 + ["blue"] * 250
RULES: list[tuple[str, Any, Any, Status, str]] = [
    ("same", normal(1), normal(2), CLEAR, "no change: psi"),
    ("shifted", normal(1), normal(2, shift=1.0), RAISED, "moved: psi"),
    ("small shift of many rows", normal(1, 20_000), normal(2, 20_000, 0.1), CLEAR, "too small to matter"),
    ("few rows in the batch", normal(1), normal(2, 199, shift=5.0), UNKNOWN, "too few rows: 500 in the reference, 199"),
    ("few rows in the reference", normal(1, 199), normal(2), UNKNOWN, "too few rows: 199"),
    ("no rows", normal(1), [], UNKNOWN, "too few rows"),
    ("few complete values", holed(normal(1), 310), holed(normal(2), 310), UNKNOWN, "too few complete values: 190"),
    ("all missing in the batch", normal(1), [NAN] * 500, RAISED, "every value of the batch is missing (0 %"),
    ("all missing in both", [NAN] * 500, [NAN] * 500, UNKNOWN, "every value is missing, in the reference and"),
    ("all missing in the reference", [NAN] * 500, normal(2), RAISED, "missing values moved from 100.0 % to 0 %"),
    ("more missing", normal(1), holed(normal(2), 50), RAISED, "missing values moved from 0 % to 10.0 %"),
    ("fewer missing", holed(normal(1), 100), normal(2), RAISED, "missing values moved from 20.0 % to 0 %"),
    ("a few more missing", normal(1, 5_000), holed(normal(2, 5_000), 200), CLEAR, "no change"),
    ("as many missing", holed(normal(1), 100), holed(normal(2), 110), CLEAR, "no change"),
    ("infinite is missing", normal(1), holed(normal(2), 50, math.inf), RAISED, "missing values moved"),
    ("negative infinity too", normal(1), holed(normal(2), 50, -math.inf), RAISED, "missing values moved"),
    ("constant in both", [3.0] * 500, [3.0] * 500, CLEAR, "no change"),
    ("constant, then another", [3.0] * 500, [4.0] * 500, RAISED, "moved: psi"),
    ("constant, then not", [0.0] * 500, normal(2), RAISED, "moved: psi"),
    ("not constant, then constant", normal(1), [0.0] * 500, RAISED, "moved: psi"),
    ("same categories", COLOURS, COLOURS, CLEAR, "no change"),
    ("one category only", ["red"] * 500, ["red"] * 400, CLEAR, "no change"),
    ("vanished category", COLOURS, ["red"] * 500, RAISED, "moved: psi"),
    ("unseen from 1 %", COLOURS, [*COLOURS[:495], *["mauve"] * 5], RAISED, "1 % of the rows have a category"),
    ("unseen below 1 %", COLOURS, [*COLOURS[:496], *["mauve"] * 4], CLEAR, "'mauve'"),
    ("missing categories", COLOURS, holed(COLOURS, 60, None), RAISED, "missing values moved"),
]


@pytest.mark.parametrize(("reference", "batch", "status", "words"), [r[1:] for r in RULES], ids=[r[0] for r in RULES])
def test_a_feature_and_a_batch_of_it_alone_have_the_same_verdict(
    reference: Any, batch: Any, status: Status, words: str
) -> None:
    found = assess(column("x", reference, batch))
    assert (only(found).status, found.status) == (status, status), only(found).reason
    assert words in only(found).reason
    assert only(found).reason in found.reason
    assert found.rows == len(batch)
    assert found.threshold == SPEC.psi_threshold
    assert found.value == only(found).psi


def test_every_figure_is_there_and_can_be_written_as_json() -> None:
    found = assess(
        column("moved", normal(1), normal(2, shift=1.0), 0.6),
        column("gone", normal(3), [NAN] * 500, 0.4),
        column("colour", COLOURS, [*COLOURS[:489], *(f"new {i}" for i in range(11))]),
    )
    json.dumps(asdict(found), allow_nan=False)
    by_name = {feature.feature: feature for feature in found.features}
    moved, gone, colour = by_name["moved"], by_name["gone"], by_name["colour"]
    assert moved.test == "kolmogorov_smirnov"
    assert moved.statistic is not None
    assert moved.p_value is not None
    assert moved.adjusted_p is not None
    assert moved.p_value <= moved.adjusted_p
    assert (moved.missing_reference, moved.missing_batch, moved.missing_p) == (0.0, 0.0, 1.0)
    assert (gone.test, gone.statistic, gone.p_value, gone.psi, gone.missing_batch) == ("none", None, None, None, 1.0)
    assert colour.categorical
    assert len(colour.unseen) == 10
    assert "and 1 more" in colour.reason


def test_a_detector_without_an_answer_is_unknown() -> None:
    same = column("x", normal(1), normal(2))
    for answers in ({}, {"x": Answer("kolmogorov_smirnov", NAN, NAN)}):
        found = assess_drift(SPEC, [same], answers)
        assert found.status is UNKNOWN
        assert "no p-value" in found.reason


def test_too_few_values_give_no_effect_size() -> None:
    found = assess(column("x", normal(1), [NAN] * 490 + [50.0] * 10))
    assert found.status is RAISED
    assert (only(found).psi, found.value) == (None, None)


def test_the_p_values_are_adjusted_over_the_tested_features() -> None:
    columns = [column(f"x{i}", normal(i), normal(100 + i)) for i in range(9)]
    answers = {each.feature: Answer("kolmogorov_smirnov", 0.1, 0.9) for each in columns}
    answers["x3"] = Answer("kolmogorov_smirnov", 0.1, 0.01)
    found = assess_drift(SPEC, [*columns, column("few", normal(1), [NAN] * 500)], answers)
    adjusted = {feature.feature: feature.adjusted_p for feature in found.features}
    assert adjusted["x3"] == pytest.approx(0.09)
    assert adjusted["few"] is None


@pytest.mark.parametrize(
    ("importance", "statuses", "expected"),
    [
        ([0.97, 0.01], [CLEAR, RAISED], CLEAR),
        ([0.97, 0.02], [CLEAR, RAISED], RAISED),
        ([0.97, None], [CLEAR, RAISED], RAISED),
        ([0.97, NAN], [CLEAR, RAISED], RAISED),
        ([0.97, 0.0], [CLEAR, UNKNOWN], CLEAR),
        ([0.4, 0.3, 0.3], [UNKNOWN, CLEAR, CLEAR], UNKNOWN),
        ([0.4, 0.3, 0.3], [CLEAR, UNKNOWN, CLEAR], CLEAR),
        ([0.5, 0.5], [CLEAR, UNKNOWN], UNKNOWN),
        ([0.4, 0.3, 0.3], [CLEAR, UNKNOWN, UNKNOWN], UNKNOWN),
        ([0.4, 0.3, 0.3], [RAISED, UNKNOWN, UNKNOWN], RAISED),
        ([None, None, None], [UNKNOWN, CLEAR, CLEAR], CLEAR),
        ([None, None, None], [UNKNOWN, UNKNOWN, CLEAR], UNKNOWN),
        ([0.001, 0.001], [CLEAR, RAISED], UNKNOWN),
        ([], [], UNKNOWN),
    ],
)
def test_the_batch_follows_the_features_that_count(
    importance: list[float | None], statuses: list[Status], expected: Status
) -> None:
    def sides(seed: int, status: Status) -> tuple[list[float], list[float]]:
        missing = 310 if status is UNKNOWN else 0
        shift = 2.0 if status is RAISED else 0.0
        return holed(normal(50 + seed), missing), holed(normal(seed, shift=shift), missing)

    columns = [
        column(f"x{i}", *sides(i, status), share)
        for i, (share, status) in enumerate(zip(importance, statuses, strict=True))
    ]
    found = assess(*columns)
    assert {f.feature: f.status for f in found.features} == {f"x{i}": s for i, s in enumerate(statuses)}
    assert found.status is expected, found.reason
    assert found.reason


def test_what_is_weighted_out_is_shown_last_and_gives_no_value() -> None:
    light = column("light", normal(1), normal(2, shift=3.0), 0.001)
    found = assess(light, column("heavy", normal(3), normal(4), 0.999))
    assert [feature.feature for feature in found.features] == ["heavy", "light"]
    assert found.features[1].weighted_out
    assert found.features[1].status is RAISED
    assert found.value == found.features[0].psi


@pytest.mark.parametrize(
    ("change", "shift", "expected"),
    [
        ({"psi_threshold": 5.0}, 1.0, CLEAR),
        ({"psi_threshold": 0.01}, 0.4, RAISED),
        ({"p_threshold": 1e-60}, 1.0, CLEAR),
        ({"min_rows": 501}, 1.0, UNKNOWN),
    ],
)
def test_each_threshold_is_the_declared_one(change: dict[str, Any], shift: float, expected: Status) -> None:
    spec = dataclasses.replace(SPEC, **change)
    assert assess(column("x", normal(1), normal(2, shift=shift)), spec=spec).status is expected


def test_no_shift_rarely_raises() -> None:
    false_alarms = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        columns = [
            column(f"x{i}", holed(generator.normal(size=1_000), 100), holed(generator.normal(size=250), 25))
            for i in range(5)
        ]
        levels = generator.choice(list("abcde"), 1_250).tolist()
        found = assess(*columns, column("colour", levels[:1_000], levels[1_000:]))
        assert found.status is not UNKNOWN
        false_alarms += found.status is RAISED
    assert false_alarms <= 4


@given(seed=st.integers(0, 10_000), shift=st.sampled_from([-3.0, 1.5, 10.0]), scale=st.sampled_from([1e-9, 1.0, 1e12]))
@settings(max_examples=40, deadline=None)
def test_a_large_shift_always_raises(seed: int, shift: float, scale: float) -> None:
    still, moved = normal(seed), np.array(normal(seed + 1, 200, shift)) * scale
    reference = np.array(still) * scale
    assert assess(column("x", reference, moved), column("y", still, normal(seed + 2))).status is RAISED


values = st.sampled_from([0.0, 1.0, -1.0, NAN, math.inf, -math.inf, 1e300, -1e300, 5e-324])
words = st.sampled_from(["a", "b", "c", None])


@st.composite
def any_columns(draw: st.DrawFn) -> list[ComparedColumn]:
    """One to four columns of 0 to 30 odd values, numeric or not."""
    columns = []
    for place in range(draw(st.integers(1, 4))):
        side = st.lists(draw(st.sampled_from([words, values])), max_size=30)
        importance = draw(st.sampled_from([None, NAN, 0.0, 0.01, 0.3, 1.0]))
        columns.append(column(f"x{place}", draw(side), draw(side), importance))
    return columns


@given(columns=any_columns(), p=st.sampled_from([0.0, 1e-9, 0.5, 1.0, NAN]), min_rows=st.sampled_from([1, 10]))
@settings(max_examples=200, deadline=None)
def test_any_columns_have_a_verdict_with_a_reason_and_no_answer_is_never_clear(
    columns: list[ComparedColumn], p: float, min_rows: int
) -> None:
    spec = DriftSpec(min_rows=min_rows)
    answers = {each.feature: Answer("any", p, p) for each in columns}
    found = assess_drift(spec, columns, answers)
    assert found.reason
    assert len(found.features) == len(columns)
    counted = [feature for feature in found.features if not feature.weighted_out]
    for feature in found.features:
        assert feature.reason
        if feature.status is CLEAR:
            assert feature.adjusted_p is not None
            assert feature.psi is not None
    assert (found.status is RAISED) == any(feature.status is RAISED for feature in counted)
    if math.isnan(p):
        assert found.status is not CLEAR
    json.dumps(asdict(found), allow_nan=False)
    backwards = assess_drift(spec, columns[::-1], answers)
    assert backwards == found


@given(seed=st.integers(0, 10_000), missing=st.integers(1, 500), hole=st.sampled_from([NAN, math.inf, -math.inf]))
@settings(max_examples=40, deadline=None)
def test_missing_values_are_never_clear_in_silence(seed: int, missing: int, hole: float) -> None:
    found = only(assess(column("x", normal(seed), holed(normal(seed + 1), missing, hole))))
    assert found.missing_batch == missing / 500
    if missing >= 25:
        assert found.status is RAISED


@given(seed=st.integers(0, 10_000), shift=st.floats(-5, 5), importance=st.floats(0.0, 0.0199))
@settings(max_examples=40, deadline=None)
def test_weighted_out_never_raises(seed: int, shift: float, importance: float) -> None:
    moved = column("x", normal(seed), normal(seed + 1, shift=shift), importance)
    found = assess(moved, column("y", [1.0] * 500, [1.0] * 500, 0.9))
    assert found.status is CLEAR
