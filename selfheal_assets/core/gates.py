"""Judge a candidate by rules: figures and ids to a verdict with its reason. Never passes what it could not measure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.model_spec import MetricName
from selfheal_assets.core.statistics.metrics import (
    as_floats,
    expected_calibration_error,
    higher_is_better,
    metric,
)


class Verdict(StrEnum):
    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    """Not enough data, NaN or nothing to compare. Never treated as PASS."""


@dataclass(frozen=True)
class GateResult:
    """What one gate found."""

    name: str
    verdict: Verdict
    value: float | None
    """What was measured; None where it is not defined."""
    threshold: float | None
    interval: tuple[float, float] | None
    """Low and high of `value`, for gates that compare by an interval."""
    reason: str


def overall(results: Sequence[GateResult]) -> Verdict:
    """FAIL if any gate fails, else INCONCLUSIVE if any is or there are none, else PASS."""
    verdicts = {result.verdict for result in results}
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.PASS if verdicts == {Verdict.PASS} else Verdict.INCONCLUSIVE


def metric_floor(
    name: MetricName, label: npt.ArrayLike, score: npt.ArrayLike, *, floor: float, min_rows: int
) -> GateResult:
    """The metric on the holdout is at least `floor` (log_loss: at most), by its point estimate."""
    value, rows = metric(name, label, score), len(as_floats("label", label))
    if rows < min_rows:
        return _result("metric_floor", None, value, floor, f"{rows} rows, fewer than the {min_rows} required.")
    met = _at_most(floor, value) if higher_is_better(name) else _at_most(value, floor)
    side = "at least" if higher_is_better(name) else "at most"
    return _result(
        "metric_floor", met, value, floor, f"{name} {value:.4f} on {rows} rows; required {side} {floor:.4f}."
    )


def calibration(label: npt.ArrayLike, score: npt.ArrayLike, *, max_error: float, min_rows: int) -> GateResult:
    """The expected calibration error, over ten equal-mass bins, is at most `max_error`."""
    value, rows = expected_calibration_error(label, score), len(as_floats("label", label))
    if rows < min_rows:
        return _result("calibration", None, value, max_error, f"{rows} rows, fewer than the {min_rows} required.")
    reason = f"Expected calibration error {value:.4f} on {rows} rows; required at most {max_error:.4f}."
    return _result("calibration", _at_most(value, max_error), value, max_error, reason)


def latency(milliseconds: npt.ArrayLike, *, max_ms: float) -> GateResult:
    """The 99th percentile of the times (n,) of scoring one row is at most `max_ms`; of few times it is the largest."""
    times = as_floats("milliseconds", milliseconds)
    if not len(times) or not np.isfinite(times).all() or times.min() < 0.0:
        return _result(
            "latency", None, None, max_ms, f"{len(times)} times, none or not all of them finite and positive."
        )
    p99 = float(np.quantile(times, 0.99, method="higher"))
    reason = f"99th percentile of {len(times)} single rows {p99:.2f} ms; required at most {max_ms:.2f} ms."
    return _result("latency", _at_most(p99, max_ms), p99, max_ms, reason)


def reload_agrees(scores: npt.ArrayLike, reloaded: npt.ArrayLike, *, tolerance: float = 1e-6) -> GateResult:
    """The saved model, loaded afresh, gives each row (n,) the same score within `tolerance`."""
    before, after = as_floats("scores", scores), as_floats("reloaded", reloaded)
    if len(before) != len(after):
        reason = f"{len(before)} scores before and {len(after)} after reloading; required as many."
        return _result("reload_agrees", False, None, tolerance, reason)
    if not len(before) or not np.isfinite(before).all() or not np.isfinite(after).all():
        reason = f"{len(before)} pairs of scores, none or not all of them finite."
        return _result("reload_agrees", None, None, tolerance, reason)
    worst = float(np.abs(before - after).max())
    reason = f"Largest difference {worst:.2e} over {len(before)} rows; required at most {tolerance:.0e}."
    return _result("reload_agrees", _at_most(worst, tolerance), worst, tolerance, reason)


def no_quarantined_batches(training: Iterable[object], quarantined: Iterable[object]) -> GateResult:
    """No batch id that the model was trained on is a quarantined one."""
    return _disjoint("no_quarantined_batches", training, quarantined, "batch ids of the training set are quarantined")


def disjoint_holdout(training: Iterable[object], holdout: Iterable[object]) -> GateResult:
    """No event id of the training rows is among the holdout's; a holdout without ids is not judged."""
    held_out = list(holdout)
    if not held_out:
        reason = "The holdout has no event ids, so nothing was compared."
        return _result("disjoint_holdout", None, None, 0.0, reason)
    return _disjoint("disjoint_holdout", training, held_out, "event ids of the training set are held out")


def _disjoint(name: str, training: Iterable[object], others: Iterable[object], what: str) -> GateResult:
    """Ids are compared as text, so that 7, '7' and a numpy 7 are one id."""
    trained, barred = list(training), list(others)
    if not trained or any(_missing(value) for value in (*trained, *barred)):
        return _result(
            name, None, None, 0.0, f"{len(trained)} training ids, none or with missing ones among those compared."
        )
    shared = sorted({str(value) for value in trained} & {str(value) for value in barred})
    named = f": {', '.join(shared[:5])}" if shared else ""
    return _result(name, not shared, float(len(shared)), 0.0, f"{len(shared)} {what}{named}; required none.")


def _missing(value: object) -> bool:
    return value is None or str(value) in ("", "nan", "NaT", "<NA>")


def _at_most(value: float, limit: float) -> bool | None:
    """None, which is doubt, when either is nan."""
    return None if np.isnan([value, limit]).any() else value <= limit


def _result(name: str, met: bool | None, value: float | None, threshold: float, reason: str) -> GateResult:
    verdict = Verdict.INCONCLUSIVE if met is None else Verdict.PASS if met else Verdict.FAIL
    if value is not None and np.isnan(value):
        value, reason = (
            None,
            f"Not defined on these rows (one class, or a missing or impossible label or score): {reason}",
        )
    return GateResult(name, verdict, value, threshold, None, reason)
