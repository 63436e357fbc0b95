"""State whether a candidate can be made: a decision and how it ended in, evidence out. Never decides what follows."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from selfheal_assets.core.causes import PRODUCES_CANDIDATE, Action, Cause
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.failures import MAX_ATTEMPTS
from selfheal_assets.core.incident import OutcomeStatus, Result
from selfheal_assets.core.record import Record


def training_evidence(
    decision: Record, status: OutcomeStatus, reason: str, said: Mapping[str, Any], now: datetime, first_model_tries: int
) -> Evidence | None:
    """RAISED when the decision was given up, CLEAR when a candidate was made and judged; None where neither is shown.

    RAISED also when the last of `first_model_tries` to learn the first model made none that the gates let pass.

    `said` is what the outcome says besides. The statement is named by its decision, not by a batch: a fault of training
    is no fault of the data, and must not be taken for the cause of what the batch shows.
    """
    made = status in (OutcomeStatus.PROMOTED, OutcomeStatus.REFUSED) and said.get("result") != Result.NONE_FITS
    failed = status is OutcomeStatus.FAILED
    if made and status is OutcomeStatus.REFUSED and _last_try(decision, first_model_tries):
        failed, reason = True, f"none of {decision.payload['attempt']} tries made a first model; the last: {reason}"
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


def _last_try(decision: Record, first_model_tries: int) -> bool:
    return decision.payload["cause"] == Cause.NO_CHAMPION and decision.payload["attempt"] >= first_model_tries


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
