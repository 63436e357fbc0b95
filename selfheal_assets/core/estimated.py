"""Judge the performance that calibrated scores promise, where labels have not come. Never calls doubt CLEAR."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.evidence import Status
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.statistics.calibration import cross_validated_calibration_error, fit_calibration
from selfheal_assets.core.statistics.estimated_performance import EstimatedMetric, estimate_metric
from selfheal_assets.core.statistics.metrics import higher_is_better

OUTSIDE_SUPPORT = 0.05
"""With a greater share of scores beyond those that the calibration was learned from, it says nothing about them."""


@dataclass(frozen=True, kw_only=True)
class EstimateAssessment:
    """What the scores alone say. It cannot see a change of what the inputs mean: pure concept drift."""

    status: Status
    value: float | None
    interval: tuple[float, float] | None
    """The sampling error of a batch of this size, at the spec's confidence."""
    calibration_error: float | None
    outside_support: float | None
    rows: int
    reason: str


def assess_estimate(
    spec: ModelSpec,
    held_out_label: npt.ArrayLike,
    held_out_score: npt.ArrayLike,
    score: npt.ArrayLike,
    threshold: float | None,
) -> EstimateAssessment:
    """CBPE: calibrate on the champion's holdout (m,), estimate the metric of the batch's scores (n,).

    RAISED when the whole interval lies beyond `threshold`, the worst metric that is allowed; CLEAR when it reaches the
    good side. UNKNOWN when there is no threshold, fewer than `performance.min_rows` rows, no calibration, one whose
    cross-validated error is above `gate.max_calibration_error`, or more than 5 % of scores outside its support.
    """
    scores = np.asarray(score, dtype=np.float64)
    calibration = fit_calibration(held_out_label, held_out_score)
    if calibration is None or threshold is None:
        return _unknown(len(scores), "there is no holdout of both classes to calibrate on")
    error = cross_validated_calibration_error(held_out_label, held_out_score)
    outside = calibration.share_outside(scores)
    obstacle = _obstacle(spec, scores, error, outside)
    if obstacle is not None:
        return _unknown(len(scores), obstacle, error, outside)
    found = estimate_metric(spec.performance.metric, calibration.apply(scores), scores, spec.performance.confidence)
    if np.isnan([found.value, found.low, found.high]).any():
        return _unknown(len(scores), f"{spec.performance.metric} cannot be estimated on these scores", error, outside)
    status, reason = _verdict(spec, found, threshold)
    return EstimateAssessment(
        status=status,
        value=found.value,
        interval=(found.low, found.high),
        calibration_error=error,
        outside_support=outside,
        rows=len(scores),
        reason=reason,
    )


def _obstacle(spec: ModelSpec, scores: npt.NDArray[np.float64], error: float, outside: float) -> str | None:
    if len(scores) < spec.performance.min_rows:
        return f"{len(scores)} rows, fewer than the {spec.performance.min_rows} required"
    if not np.isfinite(scores).all():
        return f"{int((~np.isfinite(scores)).sum())} scores are missing or not finite"
    limit = spec.gate.max_calibration_error
    if not error <= limit:
        return f"the calibration's error on the holdout is {error:.4f}, more than {limit:.4f}"
    if outside > OUTSIDE_SUPPORT:
        return f"{outside:.1%} of the scores lie outside those of the holdout, more than {OUTSIDE_SUPPORT:.0%}"
    return None


def _verdict(spec: ModelSpec, found: EstimatedMetric, threshold: float) -> tuple[Status, str]:
    higher = higher_is_better(spec.performance.metric)
    harmed = found.high < threshold if higher else found.low > threshold
    figures = f"estimated {spec.performance.metric} {found.value:.4f}, {found.low:.4f} to {found.high:.4f}"
    side = "wholly" if harmed else "not wholly"
    words = f"{figures}: {side} {'below' if higher else 'above'} the limit, {threshold:.4f}"
    return Status.RAISED if harmed else Status.CLEAR, words


def _unknown(rows: int, reason: str, error: float | None = None, outside: float | None = None) -> EstimateAssessment:
    return EstimateAssessment(
        status=Status.UNKNOWN,
        value=None,
        interval=None,
        calibration_error=None if error is None or np.isnan(error) else error,
        outside_support=outside,
        rows=rows,
        reason=reason,
    )
