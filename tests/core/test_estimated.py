"""What calibrated scores promise: right where they can know, and UNKNOWN where they cannot."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from given import SPEC

from selfheal_assets.core.estimated import OUTSIDE_SUPPORT, EstimateAssessment, assess_estimate
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.model_spec import GateSpec, PerformanceSpec
from selfheal_assets.core.statistics.metrics import metric

ROWS = 3_000


def drawn(seed: int, low: float = 0.0, high: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and scores (n,) that are their own chances of label 1."""
    rng = np.random.default_rng(seed)
    chance = rng.uniform(low, high, ROWS)
    return (rng.random(ROWS) < chance).astype(float), chance


LABEL, SCORE = drawn(1)


def assessed(score: np.ndarray, threshold: float | None = 0.75, **changes: Any) -> EstimateAssessment:
    spec = replace(SPEC, **changes)
    return assess_estimate(spec, LABEL, SCORE, score, threshold)


def test_scores_like_the_holdouts_promise_its_metric() -> None:
    label, score = drawn(2)
    found = assessed(score)
    realised = metric("roc_auc", label, score)
    assert found.status is Status.CLEAR
    assert found.interval is not None
    assert found.interval[0] < realised < found.interval[1]
    assert found.value == pytest.approx(realised, abs=0.02)
    assert found.rows == ROWS
    assert found.calibration_error is not None
    assert found.calibration_error < 0.05
    assert found.outside_support == pytest.approx(0.0, abs=0.01)
    assert found.reason.endswith("not wholly below the limit, 0.7500")


def test_scores_that_say_little_promise_little() -> None:
    label, score = drawn(3, 0.4, 0.6)
    found = assessed(score)
    assert found.status is Status.RAISED
    assert found.value == pytest.approx(metric("roc_auc", label, score), abs=0.04)
    assert ": wholly below the limit" in found.reason


def test_it_is_raised_only_when_the_whole_interval_lies_beyond() -> None:
    score = drawn(4, 0.2, 0.8)[1]
    low, high = assessed(score).interval or (0.0, 0.0)
    assert low < high
    assert assessed(score, high + 1e-9).status is Status.RAISED
    assert assessed(score, high - 1e-9).status is Status.CLEAR
    assert assessed(score, low + 1e-9).status is Status.CLEAR


def test_of_a_loss_more_is_worse() -> None:
    spec: dict[str, Any] = {"performance": PerformanceSpec(metric="log_loss")}
    label, score = drawn(5, 0.4, 0.6)
    found = assessed(score, 0.5, **spec)
    assert found.status is Status.RAISED
    assert found.value == pytest.approx(metric("log_loss", label, score), abs=0.02)
    assert ": wholly above the limit" in found.reason
    assert assessed(score, 2.0, **spec).status is Status.CLEAR


def test_it_is_blind_to_what_the_inputs_mean() -> None:
    """The same scores, whatever their labels: this is why the docs say what it cannot see."""
    label, score = drawn(6)
    assert metric("roc_auc", 1.0 - label, score) < 0.5
    assert assessed(score).status is Status.CLEAR


OUTSIDE = np.concatenate([np.full(ROWS // 10, 2.0), drawn(7)[1][ROWS // 10 :]])
Doubt = tuple[dict[str, Any], npt.ArrayLike, npt.ArrayLike, np.ndarray, float | None, str]
DOUBTS: list[Any] = [
    ("no holdout", {}, [], [], SCORE, 0.75, "there is no holdout of both classes to calibrate on"),
    ("one class", {}, np.zeros(ROWS), SCORE, SCORE, 0.75, "there is no holdout of both classes to calibrate on"),
    ("no threshold", {}, LABEL, SCORE, SCORE, None, "there is no holdout"),
    ("few rows", {}, LABEL, SCORE, SCORE[:150], 0.75, "150 rows, fewer than the 200 required"),
    ("no rows", {}, LABEL, SCORE, SCORE[:0], 0.75, "0 rows, fewer than the 200 required"),
    ("nan", {}, LABEL, SCORE, np.append(SCORE, [np.nan, np.inf]), 0.75, "2 scores are missing or not finite"),
    ("outside", {}, LABEL, SCORE, OUTSIDE, 0.75, "10.0% of the scores lie outside those of the holdout"),
    (
        "poor calibration",
        {"gate": GateSpec(max_calibration_error=1e-6)},
        LABEL,
        SCORE,
        SCORE,
        0.75,
        "the calibration's error on the holdout is",
    ),
]


@pytest.mark.parametrize("case", [case[1:] for case in DOUBTS], ids=lambda case: str(case[-1]))
def test_doubt_is_unknown(case: Doubt) -> None:
    changes, label, held_out, score, threshold, why = case
    found = assess_estimate(replace(SPEC, **changes), label, held_out, score, threshold)
    assert found.status is Status.UNKNOWN
    assert found.reason.startswith(why)
    assert (found.value, found.interval) == (None, None)
    assert found.rows == len(score)


def test_a_score_that_is_always_the_same_is_never_clear() -> None:
    """One value ranks nothing: an AUC of one half, or none at all; in no case CLEAR."""
    assert assessed(np.full(ROWS, 0.5)).status is not Status.CLEAR


def test_a_few_scores_beyond_the_support_are_allowed() -> None:
    score = drawn(8)[1]
    few = int(OUTSIDE_SUPPORT * ROWS) - 5
    score[:few] = SCORE.max() + 1.0
    found = assessed(score)
    assert found.status is Status.CLEAR
    assert found.outside_support == pytest.approx(few / ROWS, abs=0.002)


def test_a_small_or_noisy_holdout_calibrates_nothing() -> None:
    rng = np.random.default_rng(9)
    label, score = rng.integers(0, 2, 40).astype(float), rng.random(40)
    found = assess_estimate(SPEC, label, score, SCORE, 0.75)
    assert found.status is Status.UNKNOWN
    assert found.calibration_error is None or found.calibration_error > SPEC.gate.max_calibration_error
