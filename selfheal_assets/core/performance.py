"""Judge a batch's realised metric against the champion's: labels and scores to a status. Never calls doubt CLEAR."""

from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.evidence import Status
from selfheal_assets.core.model_spec import PerformanceSpec
from selfheal_assets.core.statistics.bootstrap import metric_interval
from selfheal_assets.core.statistics.delong import MIN_CLASS_ROWS, auc_interval
from selfheal_assets.core.statistics.metrics import (
    Estimate,
    FloatArray,
    higher_is_better,
    label_and_score,
)


@dataclass(frozen=True, kw_only=True)
class PerformanceAssessment:
    """Whether the champion is harmed on one batch, and by what figures."""

    status: Status
    value: float | None
    """The metric on the labelled rows; None where it is not defined."""
    interval: tuple[float, float] | None
    """Low and high, at the spec's confidence; None where it is not defined."""
    threshold: float | None
    """The champion's metric less (log_loss: plus) the allowed drop."""
    rows: int
    """Labelled rows."""
    unlabelled: int
    """Rows left out because their label is not known yet."""
    reason: str

    @property
    def matured(self) -> float:
        """Share of the rows that have a label; 0 where there are no rows."""
        return self.rows / (self.rows + self.unlabelled) if self.rows else 0.0


def assess_performance(
    spec: PerformanceSpec,
    label: npt.ArrayLike,
    score: npt.ArrayLike,
    champion_metric: float | None,
    *,
    seed: int = 0,
) -> PerformanceAssessment:
    """Compare `score` (n,) on `label` (n,; nan or None: not known yet) with the champion's holdout metric.

    RAISED when the whole interval lies beyond the threshold; CLEAR when it reaches the good side, that is: harm is not
    shown, which with few rows is weaker than harmless. UNKNOWN: a smaller share of labelled rows than
    `spec.min_matured`, fewer of them than `spec.min_rows`, a class missing or rarer than `MIN_CLASS_ROWS`, a label
    other than 0 and 1, a score that is not finite (labelled or not), or no champion metric. `seed` fixes the
    bootstrap, used for every metric but roc_auc (DeLong).
    Raises SelfhealError when the arrays are not numeric or not of one length.
    """
    truth, scores = label_and_score(label, score)
    known = ~np.isnan(truth)
    threshold = worst_allowed(spec, champion_metric)
    obstacle = _immature(spec, known) or _obstacle(spec, truth[known], scores, threshold)
    estimate = Estimate(float("nan"), float("nan"), float("nan"))
    if obstacle is None:
        estimate = _estimate(spec, truth[known], np.asarray(score)[known], seed)
    status, reason = (Status.UNKNOWN, obstacle) if obstacle else _verdict(spec, estimate, threshold)
    unlabelled = int((~known).sum())
    return PerformanceAssessment(
        status=status,
        value=None if np.isnan(estimate.value) else estimate.value,
        interval=None if np.isnan(estimate.low + estimate.high) else (estimate.low, estimate.high),
        threshold=threshold,
        rows=int(known.sum()),
        unlabelled=unlabelled,
        reason=reason + (f" {unlabelled} rows without a label were left out." if unlabelled else ""),
    )


def worst_allowed(spec: PerformanceSpec, champion_metric: float | None) -> float | None:
    """The champion's own metric less (log_loss: plus) the allowed drop; None where it is not known."""
    if champion_metric is None or not isfinite(champion_metric):
        return None
    return champion_metric - spec.max_drop if higher_is_better(spec.metric) else champion_metric + spec.max_drop


def _obstacle(spec: PerformanceSpec, known: FloatArray, scores: FloatArray, threshold: float | None) -> str | None:
    """Why nothing can be said, or None."""
    if threshold is None:
        return "The champion's own metric is not known, so there is nothing to compare with."
    if len(known) < spec.min_rows:
        return f"{len(known)} labelled rows, fewer than the {spec.min_rows} required."
    broken = int((~np.isfinite(scores)).sum())
    if broken:
        return f"{broken} scores are missing or not finite."
    ones, zeros = int((known == 1.0).sum()), int((known == 0.0).sum())
    if ones + zeros < len(known):
        return f"{len(known) - ones - zeros} labels are neither 0 nor 1."
    if min(ones, zeros) < MIN_CLASS_ROWS:
        return f"{ones} rows labelled 1 and {zeros} labelled 0; {MIN_CLASS_ROWS} of each are required."
    return None


def _immature(spec: PerformanceSpec, known: npt.NDArray[np.bool_]) -> str | None:
    """Why the labels that came are not enough to speak for the batch, or None."""
    matured = float(known.mean()) if len(known) else 1.0
    if matured >= spec.min_matured:
        return None
    return f"{matured:.0%} of the rows have a label yet, less than the {spec.min_matured:.0%} required."


def _estimate(spec: PerformanceSpec, label: FloatArray, score: npt.NDArray[np.generic], seed: int) -> Estimate:
    if spec.metric == "roc_auc":
        return auc_interval(label, score, spec.confidence)
    return metric_interval(spec.metric, label, score, spec.confidence, seed=seed)


def _verdict(spec: PerformanceSpec, estimate: Estimate, threshold: float | None) -> tuple[Status, str]:
    if threshold is None or np.isnan([estimate.value, estimate.low, estimate.high]).any():
        return Status.UNKNOWN, f"{spec.metric} is not defined on these scores: they must be probabilities."
    higher = higher_is_better(spec.metric)
    harmed = estimate.high < threshold if higher else estimate.low > threshold
    figures = (
        f"{spec.metric} {estimate.value:.4f}, {spec.confidence:.0%} interval {estimate.low:.4f} to {estimate.high:.4f}"
    )
    limit = f"the {'least' if higher else 'most'} allowed, {threshold:.4f}"
    if harmed:
        return Status.RAISED, f"{figures}: wholly {'below' if higher else 'above'} {limit}."
    return Status.CLEAR, f"{figures}: not wholly {'below' if higher else 'above'} {limit}."
