"""State whether a candidate can be made: a decision and how it ended in, evidence out. Never decides what follows."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from selfheal_assets.core.causes import PRODUCES_CANDIDATE, Action
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.failures import MAX_ATTEMPTS
from selfheal_assets.core.incident import OutcomeStatus, Result
from selfheal_assets.core.record import Record


def training_evidence(
    decision: Record, status: OutcomeStatus, reason: str, said: Mapping[str, Any], now: datetime
) -> Evidence | None:
    """RAISED when the decision was given up, CLEAR when a candidate was made and judged; None where neither is shown.

    `said` is what the outcome says besides. The statement is named by its decision, not by a batch: a fault of training
    is no fault of the data, and must not be taken for the cause of what the batch shows.
    """
    made = status in (OutcomeStatus.PROMOTED, OutcomeStatus.REFUSED) and said.get("result") != Result.NONE_FITS
    failed = status is OutcomeStatus.FAILED
    if Action(decision.payload["action"]) not in PRODUCES_CANDIDATE or not (made or failed):
        return None
    return Evidence(
        model=decision.model,
        signal=Signal.TRAINING,
        status=Status.RAISED if failed else Status.CLEAR,
        batch_id=decision.subject,
        champion_version=None,
        event_time=now,
        value=None,
        threshold=float(MAX_ATTEMPTS),
        sample_size=0,
        reason=reason if failed else "a candidate was made and judged",
        details={"decision_id": decision.subject, "run_id": said.get("run_id"), "error": said.get("error")},
    )


def promotion_evidence(decision: Record, report: Mapping[str, Any], batch_id: str, now: datetime) -> Evidence:
    """That another version serves. `report` is its judgement, `batch_id` the newest batch that it learned from."""
    return Evidence(
        model=decision.model,
        signal=Signal.PROMOTION,
        status=Status.CLEAR,
        batch_id=batch_id,
        champion_version=report["version"],
        event_time=now,
        value=report["metric"],
        threshold=None,
        sample_size=0,
        reason=f"version {report['version']} serves instead of {report['champion_version'] or 'none'}",
        details={"version": report["version"], "decision_id": decision.subject},
    )
