"""Say which heals left a whole trail: decision, run, MLflow tags, outcome, verification. Never mends one."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from selfheal_assets.core.causes import TOUCHES_PRODUCTION
from selfheal_assets.core.incident import Incident, IncidentState, OutcomeStatus, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.policy import DecisionStatus
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.operations.replay import decisions_of
from selfheal_assets.ports import Ledger, ModelRegistry, ModelVersion
from selfheal_assets.stages.governance import is_governed

SERVES = (OutcomeStatus.PROMOTED, OutcomeStatus.ROLLED_BACK)
JUDGED = frozenset({Result.VERIFIED, Result.NOT_VERIFIED, Result.ROLLED_BACK})


@dataclass(frozen=True, kw_only=True)
class Trail:
    """One heal that is over, and what it did not leave behind."""

    decision: Record
    missing: tuple[str, ...]


def trails(
    ledger: Ledger, models: Sequence[ModelSpec], registry: Callable[[], ModelRegistry], runs: Callable[[str], int]
) -> list[Trail]:
    """Of every action on production that was let through for an incident and is over, in the order of the decisions.

    `registry` is asked for where there are heals only; `runs` counts the Dagster runs of a decision.
    """
    found = []
    for spec in models:
        heals = [d for d in decisions_of(ledger, spec.name) if _touches(d)]
        versions = registry().versions(spec.name) if heals else []
        for heal in heals:
            trail = _trail(ledger, heal, versions, runs)
            if trail is not None:
                found.append(trail)
    return found


def complete(found: Iterable[Trail]) -> int:
    return sum(not trail.missing for trail in found)


def _touches(decision: Record) -> bool:
    held = decision.status == DecisionStatus.SUPPRESSED
    return bool(decision.payload.get("incident")) and decision.payload["action"] in TOUCHES_PRODUCTION and not held


def _trail(ledger: Ledger, heal: Record, versions: Sequence[ModelVersion], runs: Callable[[str], int]) -> Trail | None:
    """None for a heal that is under way, or was never let through."""
    incident = _incident(ledger, heal)
    result = next((a.result for a in incident.tried if a.decision_id == heal.subject), None) if incident else None
    outcome = ledger.newest(heal.model, RecordKind.OUTCOME, subject=heal.subject)
    if incident is None or result in (None, Result.AWAITING, Result.DECLINED) or _under_way(incident, heal):
        return None
    missing = []
    if not runs(heal.subject):
        missing.append("run")
    if not outcome:
        missing.append("outcome")
    elif outcome[0].status in SERVES:
        if not any(is_governed(version, heal) for version in versions):
            missing.append("MLflow tags")
        if result not in JUDGED:
            missing.append("verification")
    return Trail(decision=heal, missing=tuple(missing))


def _under_way(incident: Incident, heal: Record) -> bool:
    last = incident.tried[-1].decision_id == heal.subject
    return last and incident.state in (IncidentState.HEALING, IncidentState.VERIFYING)


def _incident(ledger: Ledger, heal: Record) -> Incident | None:
    records = ledger.newest(heal.model, RecordKind.INCIDENT, subject=heal.payload["incident"])
    return Incident.from_record(records[0]) if records else None
