"""Write down and look up the failures of the runs that are asked for again: what failed, how, and what follows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from selfheal_assets.core.failures import FailureClass, NextStep, NextTry
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Ledger

RECORDS_READ = 50
"""Of one subject: many times more than it may be tried."""


def failure_record(
    spec: ModelSpec, subject: str, run_id: str, now: datetime, following: NextTry, facts: Mapping[str, Any]
) -> Record:
    """One failed run; its status is what follows. `facts`: job, step, error_class, message, failure, attempt."""
    return Record(
        key=f"run_failure:{run_id}",
        model=spec.name,
        kind=RecordKind.RUN_FAILURE,
        subject=subject,
        status=following.step,
        event_time=now,
        recorded_at=now,
        payload={
            **facts,
            "run_id": run_id,
            "reason": following.reason,
            "next_try": following.at.isoformat() if following.at else None,
            "sample": following.sample,
        },
    )


def failures(ledger: Ledger, spec: ModelSpec, subject: str) -> list[Record]:
    """Of the subject, oldest first."""
    return ledger.newest(spec.name, RecordKind.RUN_FAILURE, subject=subject, limit=RECORDS_READ)[::-1]


def not_before(failure: Record) -> datetime | None:
    """The time of the next try; None when there is none."""
    at = failure.payload["next_try"]
    return datetime.fromisoformat(at) if at else None


def is_final(failure: Record) -> bool:
    return failure.status == NextStep.GIVE_UP


def out_of_memory(found: Sequence[Record]) -> int:
    """How many of the failures ran out of memory."""
    return sum(record.payload["failure"] == FailureClass.OUT_OF_MEMORY for record in found)


def told(failure: Record) -> str:
    """What it failed of, for people."""
    name, message = failure.payload["error_class"], failure.payload["message"]
    return f"{name}: {message}" if name else message
