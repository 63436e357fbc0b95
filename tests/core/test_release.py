"""The previous champion against the present one on the same rows: proof, luck and doubt."""

import numpy as np
import pytest

from selfheal_assets.core.evidence import Status
from selfheal_assets.core.model_spec import PerformanceSpec
from selfheal_assets.core.release import ReleaseAssessment, assess_release
from selfheal_assets.core.statistics.metrics import metric

SPEC = PerformanceSpec()
ROWS = 1_000
RNG = np.random.default_rng(5)
LABEL = (RNG.random(ROWS) < 0.4).astype(float)
GOOD = np.clip(0.2 + 0.5 * LABEL + RNG.normal(0.0, 0.15, ROWS), 0.01, 0.99)
POOR = np.clip(0.4 + 0.1 * LABEL + RNG.normal(0.0, 0.15, ROWS), 0.01, 0.99)


def assessed(present: np.ndarray, previous: np.ndarray, label: np.ndarray = LABEL, **spec: object) -> ReleaseAssessment:
    return assess_release(PerformanceSpec(**spec), label, present, previous)  # type: ignore[arg-type]


def test_a_previous_champion_that_does_better_is_raised() -> None:
    found = assessed(POOR, GOOD)
    assert found.status is Status.RAISED
    assert found.value == pytest.approx(metric("roc_auc", LABEL, GOOD) - metric("roc_auc", LABEL, POOR))
    assert found.value is not None
    assert found.interval is not None
    assert 0.0 < found.interval[0] < found.value < found.interval[1]
    assert found.rows == ROWS
    assert found.reason.startswith("the previous champion does better than the present one on the same 1000 rows")


def test_one_that_does_worse_or_the_same_is_clear() -> None:
    assert assessed(GOOD, POOR).status is Status.CLEAR
    same = assessed(GOOD, GOOD)
    assert (same.status, same.value) == (Status.CLEAR, 0.0)
    assert "does not do better, beyond doubt" in same.reason


def test_luck_is_no_proof() -> None:
    """Two scores of the same worth: about 2.5 in 100 comparisons may be raised."""
    raised = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        label = (rng.random(300) < 0.5).astype(float)
        one, other = (0.3 * label + rng.normal(size=300) for _ in range(2))
        raised += assessed(one, other, label).status is Status.RAISED
    assert raised <= 5


def test_of_a_loss_more_is_worse() -> None:
    assert assessed(POOR, GOOD, metric="log_loss").status is Status.RAISED
    worse = assessed(GOOD, POOR, metric="log_loss")
    assert worse.status is Status.CLEAR
    assert worse.value is not None
    assert worse.value < 0.0


def test_rows_without_a_label_do_not_count() -> None:
    half = np.where(np.arange(ROWS) % 2 == 0, LABEL, np.nan)
    found = assessed(POOR, GOOD, half)
    assert found.rows == ROWS // 2
    known = assessed(POOR[::2], GOOD[::2], LABEL[::2])
    assert (found.value, found.interval) == (known.value, known.interval)


@pytest.mark.parametrize(
    ("label", "why"),
    [
        (np.full(ROWS, np.nan), "0 labelled rows, fewer than the 200 required"),
        (np.where(np.arange(ROWS) < 199, LABEL, np.nan), "199 labelled rows, fewer than the 200 required"),
        (np.zeros(ROWS), "the difference of roc_auc is not defined on these rows"),
    ],
)
def test_doubt_is_unknown(label: np.ndarray, why: str) -> None:
    found = assessed(POOR, GOOD, label)
    assert (found.status, found.value, found.interval, found.reason) == (Status.UNKNOWN, None, None, why)


def test_scores_that_are_missing_are_no_proof() -> None:
    present = GOOD.copy()
    present[0] = np.nan
    assert assessed(present, GOOD).status is Status.UNKNOWN


def test_the_same_rows_give_the_same_word() -> None:
    assert assessed(POOR, GOOD) == assessed(POOR, GOOD)
