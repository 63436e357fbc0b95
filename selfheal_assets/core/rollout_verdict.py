"""Say what an ended rollout means: for its decision, and as an incident of its own. Never decides how it ends."""

import hashlib
from datetime import datetime

from selfheal_assets.core.causes import Cause
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.gates import Verdict
from selfheal_assets.core.incident import Incident, IncidentState, Result
from selfheal_assets.core.record import Record
from selfheal_assets.core.rollout_state import Rollout

BY_ITSELF = "selfheal"
"""Who ended a rollout whose run failed as often as it may be tried."""


def result_of(rollout: Rollout) -> Result:
    """What came of the attempt behind an aborted rollout: a person's word against it is no failure of the attempt."""
    if rollout.ended_by is None:
        return Result.REFUSED
    return Result.FAILED if rollout.ended_by == BY_ITSELF else Result.DECLINED


def bad_release(rollout: Rollout, decision: Record, now: datetime) -> list[Record]:
    """The evidence against a rejected challenger, and its incident, which the rollout itself has ended already.

    No decision stands behind it, and no attempt: the healer has nothing to do, and nothing is taken from its budget.
    """
    incident = _opened(rollout)
    named = incident.to(IncidentState.DIAGNOSED, rollout.reason)
    why = f"the rollout took version {rollout.challenger} back; version {rollout.champion} answers"
    ended = named.to(IncidentState.ROLLED_BACK, why)
    transitions = [one.to_record(now) for one in (incident, named, ended)]
    return [_evidence(rollout, now).to_record(now, decision.sequence), *transitions]


def bad_release_id(rollout: Rollout) -> str:
    """Twelve hexadecimal digits, from the rollout."""
    return hashlib.sha256(f"{rollout.model}|{Cause.BAD_RELEASE}|rollout {rollout.id}".encode()).hexdigest()[:12]


def evidence_id(rollout: Rollout) -> str:
    """What stands for the batch in its evidence: it is about none, and the decision's id is the training's."""
    return f"rollout-{rollout.id}"


def _opened(rollout: Rollout) -> Incident:
    return Incident(
        id=bad_release_id(rollout),
        model=rollout.model,
        cause=Cause.BAD_RELEASE,
        state=IncidentState.OPEN,
        reason=rollout.reason,
        opened_at=rollout.changed_at,
        batch_ids=(evidence_id(rollout),),
        champion_version=rollout.challenger,
        diagnosis=f"in its rollout version {rollout.challenger} did worse than version {rollout.champion}",
    )


def _evidence(rollout: Rollout, now: datetime) -> Evidence:
    """Of the first gate that failed. It is about the challenger, so that nobody takes it for the champion's."""
    failed = next((one for one in rollout.results if one.verdict is Verdict.FAIL), None)
    return Evidence(
        model=rollout.model,
        signal=Signal.RELEASE,
        status=Status.RAISED,
        batch_id=evidence_id(rollout),
        champion_version=rollout.challenger,
        event_time=now,
        value=failed.value if failed else None,
        threshold=failed.threshold if failed else None,
        sample_size=rollout.reference.rows,
        reason=rollout.reason,
        details={
            "rollout": rollout.id,
            "gate": failed.name if failed else None,
            "interval": list(failed.interval) if failed and failed.interval else None,
            "previous_version": rollout.champion,
        },
    )
