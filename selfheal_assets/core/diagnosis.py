"""Name the cause behind a model's current evidence, with the reasons. Never decides what to do about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.model_spec import ModelSpec


class Cause(StrEnum):
    NONE = "none"
    NO_CHAMPION = "no_champion"
    BAD_DATA = "bad_data"
    BENIGN_DRIFT = "benign_drift"
    HARMFUL_DRIFT = "harmful_drift"
    CONCEPT_DRIFT = "concept_drift"
    BAD_RELEASE = "bad_release"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    cause: Cause
    reason: str
    batch_ids: tuple[str, ...] = ()
    """The batches whose evidence carries the diagnosis, oldest first."""


@dataclass(frozen=True, kw_only=True)
class _Window:
    """The newest evidence of one signal, at most n batches."""

    latest: Evidence | None
    raised: tuple[Evidence, ...]
    size: int
    needed: int

    @property
    def persistent(self) -> bool:
        return len(self.raised) >= self.needed

    @property
    def status(self) -> Status:
        return self.latest.status if self.latest else Status.UNKNOWN

    def __str__(self) -> str:
        return f"raised in {len(self.raised)} of the last {self.size} batches (acted on from {self.needed})"


def _window(spec: ModelSpec, evidence: Sequence[Evidence], signal: Signal) -> _Window:
    found = (e for e in evidence if e.signal is signal)
    recent = sorted(found, key=lambda e: (e.event_time, e.batch_id), reverse=True)[: spec.drift.persistence_n]
    return _Window(
        latest=recent[0] if recent else None,
        raised=tuple(e for e in reversed(recent) if e.status is Status.RAISED),
        size=len(recent),
        needed=spec.drift.persistence_k,
    )


def diagnose(spec: ModelSpec, evidence: Sequence[Evidence]) -> Diagnosis:
    """The cause behind evidence that was all measured against the present champion, in any order.

    One statement a batch and signal: a batch that was measured again stands with its last measurement.
    """
    drift = _window(spec, evidence, Signal.DRIFT)
    performance = _window(spec, evidence, Signal.PERFORMANCE)
    if not drift.size and not performance.size:
        return Diagnosis(cause=Cause.UNKNOWN, reason="no batch has been measured against the present champion yet")
    harmed = tuple(e.batch_id for e in performance.raised)
    if performance.persistent:
        cause = Cause.HARMFUL_DRIFT if drift.raised else Cause.CONCEPT_DRIFT
        return Diagnosis(cause=cause, reason=f"performance {performance}; drift {drift}", batch_ids=harmed)
    if performance.raised:
        reason = f"performance {performance}: not persistent yet; drift {drift}"
        return Diagnosis(cause=Cause.UNKNOWN, reason=reason, batch_ids=harmed)
    if drift.raised:
        return _drift_without_harm(spec, drift, performance, tuple(e.batch_id for e in drift.raised))
    if Status.UNKNOWN in (drift.status, performance.status):
        unknown = [e.reason for e in (drift.latest, performance.latest) if e and e.status is Status.UNKNOWN]
        return Diagnosis(cause=Cause.UNKNOWN, reason="; ".join(unknown) or "one of the signals is missing")
    return Diagnosis(cause=Cause.NONE, reason="drift and performance are clear")


def _drift_without_harm(spec: ModelSpec, drift: _Window, performance: _Window, batch_ids: tuple[str, ...]) -> Diagnosis:
    if performance.status is Status.CLEAR:
        reason = f"drift {drift}; performance is clear: {performance.latest.reason if performance.latest else ''}"
        return Diagnosis(cause=Cause.BENIGN_DRIFT, reason=reason, batch_ids=batch_ids)
    values = [e.value for e in drift.raised if e.value is not None and not math.isnan(e.value)]
    strength = max(values, default=0.0)
    if drift.persistent and strength >= spec.policy.strong_psi:
        reason = (
            f"drift {drift} with PSI {strength:.2f}, at least the strong {spec.policy.strong_psi:.2f}, "
            "while the performance is unknown"
        )
        return Diagnosis(cause=Cause.HARMFUL_DRIFT, reason=reason, batch_ids=batch_ids)
    reason = (
        f"drift {drift} with PSI {strength:.2f}; performance is unknown, and the drift is not strong and persistent"
    )
    return Diagnosis(cause=Cause.UNKNOWN, reason=reason, batch_ids=batch_ids)
