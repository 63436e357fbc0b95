"""Judge whether data still comes, and enough of it: clean row counts and the age of the newest batch. Never acts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from selfheal_assets.core.evidence import Status
from selfheal_assets.core.model_spec import QualitySpec


@dataclass(frozen=True, kw_only=True)
class SupplyAssessment:
    """One of the two."""

    status: Status
    value: float | None
    threshold: float
    reason: str


def assess_volume(spec: QualitySpec, clean_rows: Sequence[int]) -> SupplyAssessment | None:
    """RAISED when each of the last `volume_batches` has fewer clean rows than declared; None when it is not watched.

    `clean_rows`: of the last batches, oldest first.
    """
    if not spec.min_batch_rows:
        return None
    last = list(clean_rows)[-spec.volume_batches :]
    value = max(last, default=0)
    if len(last) < spec.volume_batches:
        status, words = Status.UNKNOWN, f"{len(last)} batches, {spec.volume_batches} are needed"
    else:
        status = Status.RAISED if value < spec.min_batch_rows else Status.CLEAR
        words = f"the last {len(last)} batches have at most {value} clean rows"
    return SupplyAssessment(
        status=status,
        value=float(value) if last else None,
        threshold=float(spec.min_batch_rows),
        reason=f"{words}; at least {spec.min_batch_rows} are expected",
    )


def assess_freshness(spec: QualitySpec, landed_at: datetime | None, now: datetime) -> SupplyAssessment | None:
    """RAISED when the newest batch landed longer ago than declared; None when not watched, or none ever landed."""
    if not spec.max_age_hours or landed_at is None:
        return None
    age = now - landed_at
    status = Status.RAISED if age > timedelta(hours=spec.max_age_hours) else Status.CLEAR
    return SupplyAssessment(
        status=status,
        value=age.total_seconds() / 3600.0,
        threshold=spec.max_age_hours,
        # Without the age itself, which changes with every look.
        reason=f"the newest batch landed at {landed_at:%Y-%m-%d %H:%M} UTC; {spec.max_age_hours:g} hours are allowed",
    )
