"""Judge the losses of labelled rows as they came: a detector's answer to one assessment. Never ends a stream's alarm.

The stream begins anew with each champion; within it the order is that in which the labels arrived. An alarm of the
risk test is against the champion's holdout; one of ADWIN against the stream's own past, so ADWIN does not see a model
that was bad from the first row, while the risk test is slower.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.evidence import Status
from selfheal_assets.core.statistics.confidence_sequence import unit_values
from selfheal_assets.core.statistics.risk_monitor import RiskMonitoring, monitor_risk

DetectorName = Literal["sequential_risk", "adwin"]


@dataclass(frozen=True, kw_only=True)
class LossChange:
    """What a change detector says of a stream of losses, in units of the loss."""

    alarm: bool
    """The mean rose; a fall is none."""
    index: int | None
    """0-based place of the loss at which the rise was first seen."""
    since_index: int | None
    """0-based place of the first loss that the detector takes for risen."""
    mean_before: float | None
    mean_after: float | None
    """Means on both sides of `since_index`, in the window that the detector held when it alarmed; without an alarm:
    None, and the mean of the window that it holds at the end."""


@dataclass(frozen=True, kw_only=True)
class SequentialAssessment:
    """One detector's word on a stream of losses."""

    detector: DetectorName
    status: Status
    """UNKNOWN: the detector could not have raised an alarm yet, whatever the losses."""
    alarm: bool
    alarm_index: int | None
    """0-based place of the loss at which the alarm was due."""
    since_index: int | None
    """0-based place of the loss from which on the harm most likely was there."""
    lower: float | None
    """The largest proven risk; None for a detector without bounds."""
    mean: float | None
    """Mean loss since the harm began; without an alarm, of all rows or of the detector's window."""
    threshold: float | None
    """What `lower`, or `mean` where there is no bound, is compared with."""
    rows: int
    reason: str

    def to_details(self) -> dict[str, Any]:
        """JSON's form, for the details of an evidence."""
        return {**asdict(self), "status": str(self.status)}


def assess_risk(
    losses: npt.ArrayLike, source_losses: npt.ArrayLike, *, tolerance: float, alpha: float = 0.05
) -> SequentialAssessment:
    """Test `losses` (n,) in order of arrival against the holdout's (m,), all in [0, 1]; see `monitor_risk`.

    Raises SelfhealError for a loss missing or outside [0, 1], a negative tolerance or an alpha outside (0, 1).
    """
    stream = unit_values("losses", losses)
    found = monitor_risk(stream, source_losses, tolerance=tolerance, alpha=alpha)
    since = None if found.alarm_index is None else _rise_begins(stream[: found.alarm_index + 1], found.threshold)
    status, reason = _risk_verdict(found, len(stream), since, tolerance, alpha)
    return SequentialAssessment(
        detector="sequential_risk",
        status=status,
        alarm=found.alarm,
        alarm_index=found.alarm_index,
        since_index=since,
        lower=found.lower,
        mean=found.mean if since is None else float(stream[since:].mean()),
        threshold=found.threshold,
        rows=len(stream),
        reason=reason,
    )


def assess_change(change: LossChange | None, rows: int) -> SequentialAssessment:
    """The assessment of a change detector's answer on `rows` losses; None: it has not looked yet."""
    if change is None:
        status, reason = Status.UNKNOWN, f"{rows} losses: the detector has not compared anything yet"
    elif change.alarm:
        status = Status.RAISED
        reason = (
            f"the mean loss rose from {change.mean_before:.4f} to {change.mean_after:.4f} from row {change.since_index}"
            f" of {rows} on, seen at row {change.index}"
        )
    else:
        status, reason = Status.CLEAR, f"no rise of the mean loss was seen in {rows} rows"
    return SequentialAssessment(
        detector="adwin",
        status=status,
        alarm=change is not None and change.alarm,
        alarm_index=change.index if change else None,
        since_index=change.since_index if change else None,
        lower=None,
        mean=change.mean_after if change else None,
        threshold=change.mean_before if change else None,
        rows=rows,
        reason=reason,
    )


def _rise_begins(losses: npt.NDArray[np.float64], threshold: float) -> int:
    """Where the CUSUM of the losses less the threshold was lowest before it rose (Page 1954, Biometrika 41:100)."""
    return int(np.argmin(np.append(0.0, np.cumsum(losses - threshold)[:-1])))


def _risk_verdict(
    found: RiskMonitoring, rows: int, since: int | None, tolerance: float, alpha: float
) -> tuple[Status, str]:
    limit = (
        f"{found.threshold:.4f} (the holdout's upper bound {found.source_upper:.4f} and the tolerance {tolerance:g})"
    )
    if found.alarm:
        return Status.RAISED, (
            f"the risk is proven to have passed {limit}, at row {found.alarm_index} of {rows}, most likely from row "
            f"{since} on: lower bound {found.lower:.4f}; a false alarm has probability {alpha:g} at most"
        )
    if not found.can_alarm:
        return Status.UNKNOWN, f"{rows} losses cannot prove a risk above {limit}, whatever they are"
    return Status.CLEAR, (
        f"the risk is not proven to have passed {limit}: mean {found.mean:.4f}, lower bound {found.lower:.4f}, "
        f"{rows} losses"
    )
