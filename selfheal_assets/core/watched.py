"""Describe the healing of one model as it stands: sensors, runs, incidents, decisions, batches. Never judges it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from selfheal_assets.core.causes import Action
from selfheal_assets.core.incident import Incident


class Worker(StrEnum):
    """What is known of the process of a run."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """It runs elsewhere, or has not said where."""


@dataclass(frozen=True, kw_only=True)
class SensorFact:
    name: str
    switched_off: bool
    interval: timedelta
    silent_for: timedelta | None
    """Since its last tick; None where it never ticked."""
    failed_in_a_row: int = 0
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class RunFact:
    """A run that has not ended."""

    run_id: str
    job: str
    begun: bool
    """False while it waits in the queue, or for its process."""
    silent_for: timedelta
    """Since its last event; of one that waits, since it was asked for."""
    worker: Worker = Worker.UNKNOWN


@dataclass(frozen=True, kw_only=True)
class IncidentFact:
    incident: Incident
    for_: timedelta
    """In its state."""
    rolling_out: bool = False
    """Whether a rollout of what was made for it is under way: that has limits of its own."""


@dataclass(frozen=True, kw_only=True)
class DecisionFact:
    """A decision to act that was let through, has no end, and no run was ever launched for."""

    decision_id: str
    action: Action
    incident: str | None
    for_: timedelta


@dataclass(frozen=True, kw_only=True)
class UndecidedRunFact:
    """A run whose decision the ledger does not have."""

    run_id: str
    decision_id: str
    for_: timedelta


@dataclass(frozen=True, kw_only=True)
class BacklogFact:
    """Open batches, with no ingest at work."""

    batch_ids: Sequence[str]
    for_: timedelta
    """Since the last of: one of them came, an ingest failed."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The healing of one model, as it is. All times are ages: the clocks that they are taken from may differ."""

    sensors: Sequence[SensorFact] = ()
    runs: Sequence[RunFact] = ()
    incidents: Sequence[IncidentFact] = ()
    decisions: Sequence[DecisionFact] = ()
    undecided: Sequence[UndecidedRunFact] = ()
    backlog: BacklogFact | None = None
    ledger_error: str = ""
    """Why the ledger did not answer; then nothing is known of incidents, decisions and batches."""
