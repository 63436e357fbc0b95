"""Tell from the ledger what happened to a model: batches, incidents, champions. Never writes anything."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from selfheal_assets.core.evidence import Evidence, Signal
from selfheal_assets.core.incident import History, Incident, OutcomeStatus, incidents
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.policy import Action, DecisionStatus
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.statistics.metrics import higher_is_better
from selfheal_assets.ports import Services

EVERYTHING = 100_000


@dataclass(frozen=True, kw_only=True)
class BatchStory:
    """One batch: where its rows went and what was seen on it."""

    batch_id: str
    file_name: str
    verdict: str
    rows_landed: int
    rows_clean: int
    rows_quarantined: int
    drift: str
    performance: str
    metric: float | None
    action: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Champion:
    """One version that was promoted."""

    version: str
    promoted_at: datetime
    decision_id: str
    cause: str
    metric: float | None


def batches(services: Services, spec: ModelSpec, limit: int = EVERYTHING) -> list[BatchStory]:
    """The last batches that landed, in order of registration."""
    ledger = services.ledger
    registered = ledger.newest(spec.name, RecordKind.BATCH_REGISTERED, limit=limit)
    settled = ledger.current(spec.name, RecordKind.BATCH_SETTLED, [r.subject for r in registered])
    evidence: dict[tuple[str, Signal], Evidence] = {}
    for record in reversed(ledger.newest(spec.name, RecordKind.EVIDENCE, limit=4 * limit)):
        seen = Evidence.from_record(record)
        evidence[seen.batch_id, seen.signal] = seen
    actions = _actions(ledger.newest(spec.name, RecordKind.DECISION, limit=4 * limit))
    return [
        _batch(record, settled.get(record.subject), evidence, actions.get(record.subject, ""))
        for record in sorted(registered, key=lambda r: (r.event_time, r.sequence))
    ]


def _actions(decisions: list[Record]) -> dict[str, str]:
    """What was decided because of each batch; the gravest word wins."""
    words: dict[str, str] = {}
    for decision in decisions:
        action = Action(decision.payload["action"])
        word = "watch" if action is Action.NOTHING else str(action)
        if action is Action.RETRAIN and decision.status != DecisionStatus.DECIDED:
            word = "watch"
        for batch_id in decision.payload["batch_ids"]:
            if words.get(batch_id) in (None, "watch"):
                words[batch_id] = word
    return words


def _batch(
    registered: Record, settled: Record | None, evidence: dict[tuple[str, Signal], Evidence], action: str
) -> BatchStory:
    counts = settled.payload if settled else {}
    drift = evidence.get((registered.subject, Signal.DRIFT))
    performance = evidence.get((registered.subject, Signal.PERFORMANCE))
    return BatchStory(
        batch_id=registered.subject,
        file_name=registered.payload["file_name"],
        verdict=settled.status if settled else "LANDED",
        rows_landed=counts.get("rows_landed", 0),
        rows_clean=counts.get("rows_clean", 0),
        rows_quarantined=counts.get("rows_quarantined", 0),
        drift=str(drift.status) if drift else "",
        performance=str(performance.status) if performance else "",
        metric=performance.value if performance else None,
        action=action or ("kept" if settled and settled.status == "CLEAN" else ""),
        reason="; ".join(counts.get("reasons", [])),
    )


def champions(services: Services, spec: ModelSpec) -> list[Champion]:
    """Every promotion, oldest first."""
    promoted = services.ledger.newest(spec.name, RecordKind.OUTCOME, status=OutcomeStatus.PROMOTED, limit=EVERYTHING)
    decisions = services.ledger.current(spec.name, RecordKind.DECISION, [r.subject for r in promoted])
    found = []
    for outcome in reversed(promoted):
        report: dict[str, Any] = services.batches.read_document(spec.name, f"validation-{outcome.subject}") or {}
        found.append(
            Champion(
                version=str(outcome.payload["version"]),
                promoted_at=outcome.recorded_at,
                decision_id=outcome.subject,
                cause=decisions[outcome.subject].payload["cause"],
                metric=report.get("metric"),
            )
        )
    return found


def incident_list(services: Services, spec: ModelSpec) -> list[Incident]:
    """Every incident of the model, oldest first."""
    ledger = services.ledger
    decisions = ledger.newest(spec.name, RecordKind.DECISION, limit=EVERYTHING)
    registered = ledger.newest(spec.name, RecordKind.BATCH_REGISTERED, limit=EVERYTHING)
    evidence = map(Evidence.from_record, ledger.newest(spec.name, RecordKind.EVIDENCE, limit=EVERYTHING))
    history = History(
        landed_at={r.subject: datetime.fromisoformat(r.payload["landed_at"]) for r in registered},
        decisions=list(reversed(decisions)),
        outcomes=ledger.current(spec.name, RecordKind.OUTCOME, [d.subject for d in decisions]),
        performance=[e for e in evidence if e.signal is Signal.PERFORMANCE],
    )
    return incidents(spec.performance.metric, higher_is_better(spec.performance.metric), history)
