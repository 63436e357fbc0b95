"""Judge a release by its first batches: the previous champion against the present one. Never takes luck for proof."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.evidence import Status
from selfheal_assets.core.gate_comparison import advantage
from selfheal_assets.core.model_spec import PerformanceSpec


@dataclass(frozen=True, kw_only=True)
class ReleaseAssessment:
    """Whether the previous champion does better on the same rows."""

    status: Status
    value: float | None
    """Previous less present, turned so that positive means the previous is better."""
    interval: tuple[float, float] | None
    rows: int
    reason: str


def assess_release(
    spec: PerformanceSpec, label: npt.ArrayLike, present: npt.ArrayLike, previous: npt.ArrayLike, *, seed: int = 0
) -> ReleaseAssessment:
    """Scores (n,) of both on the same rows; a label that is not known yet is nan.

    RAISED when the whole interval of the paired difference says that the previous one is better; CLEAR when it does
    not; UNKNOWN with fewer than `min_rows` labelled rows, or where the metric is not defined.
    """
    labels, known = np.asarray(label, dtype=np.float64), np.isfinite(np.asarray(label, dtype=np.float64))
    rows = int(known.sum())
    if rows < spec.min_rows:
        reason = f"{rows} labelled rows, fewer than the {spec.min_rows} required"
        return ReleaseAssessment(status=Status.UNKNOWN, value=None, interval=None, rows=rows, reason=reason)
    found = advantage(
        spec.metric,
        labels[known],
        np.asarray(previous)[known],
        np.asarray(present)[known],
        confidence=spec.confidence,
        seed=seed,
    )
    if np.isnan([found.value, found.low, found.high]).any():
        reason = f"the difference of {spec.metric} is not defined on these rows"
        return ReleaseAssessment(status=Status.UNKNOWN, value=None, interval=None, rows=rows, reason=reason)
    status = Status.RAISED if found.low > 0.0 else Status.CLEAR
    words = "does better than" if status is Status.RAISED else "does not do better, beyond doubt, than"
    reason = (
        f"the previous champion {words} the present one on the same {rows} rows: {spec.metric} {found.value:+.4f} "
        f"({spec.confidence:.0%} interval {found.low:+.4f} to {found.high:+.4f})"
    )
    interval = (found.low, found.high)
    return ReleaseAssessment(status=status, value=found.value, interval=interval, rows=rows, reason=reason)
