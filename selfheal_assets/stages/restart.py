"""Carry out a decision to restart: the servers at fault are named to the port, and what came of it is recorded."""

from datetime import datetime, timedelta

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.incident import OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.notification import Severity
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Restart, RestartState, Services
from selfheal_assets.stages.heal_decision import close
from selfheal_assets.stages.serving_evidence import processes_at_fault

WITHIN = timedelta(minutes=2)
"""A restart that was not done by then failed."""


def restart(selfheal: Services, spec: ModelSpec, decision: Record) -> str:
    """What came of it, in words. Asked again and again until it is done; that restarts once."""
    if selfheal.ledger.newest(spec.name, RecordKind.OUTCOME, subject=decision.subject):
        return f"decision {decision.subject} has just ended"
    asked = _asked(selfheal, spec, decision)
    if asked.state is RestartState.DONE:
        _close(selfheal, spec, decision, OutcomeStatus.RESTARTED, asked.words)
    elif asked.state is RestartState.IMPOSSIBLE:
        _failed(selfheal, spec, decision, asked.words)
    elif selfheal.clock.now() - _begun(selfheal, spec, decision) > WITHIN:
        _failed(selfheal, spec, decision, f"no restart within {WITHIN.total_seconds():.0f} s: {asked.words}")
    return f"decision {decision.subject}: {asked.words}"


def _asked(selfheal: Services, spec: ModelSpec, decision: Record) -> Restart:
    pids = processes_at_fault(selfheal.ledger, spec, decision.payload["batch_ids"])
    try:
        return selfheal.serving.restart(spec.name, decision.subject, pids)
    except SelfhealError as error:  # The home may be full for a moment: it is asked again.
        return Restart(state=RestartState.UNDER_WAY, words=str(error))


def _begun(selfheal: Services, spec: ModelSpec, decision: Record) -> datetime:
    """When it was let through: by the policy, or by the person who approved it."""
    word = selfheal.ledger.newest(spec.name, RecordKind.APPROVAL, subject=decision.subject)
    return word[0].recorded_at if word else decision.recorded_at


def _failed(selfheal: Services, spec: ModelSpec, decision: Record, reason: str) -> None:
    _close(selfheal, spec, decision, OutcomeStatus.FAILED, reason)
    incident = decision.payload.get("incident")
    selfheal.notifier.notify(spec.name, "restart failed", reason, incident=incident, severity=Severity.FAILURE)


def _close(selfheal: Services, spec: ModelSpec, decision: Record, status: OutcomeStatus, reason: str) -> None:
    close(selfheal, spec, decision.subject, status, version=None, reason=reason)
