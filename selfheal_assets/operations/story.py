"""Tell from the ledger what happened to a model: batches, incidents, champions. Never writes anything."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from selfheal_assets.core.causes import Action
from selfheal_assets.core.evidence import Evidence, Signal
from selfheal_assets.core.incident import OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.stages.case_file import CaseFile, case_file, incident_ids, quiet

EVERYTHING = 100_000
SIGNALS = 12


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
    for record in reversed(ledger.newest(spec.name, RecordKind.EVIDENCE, limit=SIGNALS * limit)):
        seen = Evidence.from_record(record)
        evidence[seen.batch_id, seen.signal] = seen
    actions = _actions(case_files(services, spec))
    return [
        _batch(record, settled.get(record.subject), evidence, actions.get(record.subject, ""))
        for record in sorted(registered, key=lambda r: (r.event_time, r.sequence))
    ]


def _actions(cases: list[CaseFile]) -> dict[str, str]:
    """What was done because of each batch; the gravest word wins."""
    words: dict[str, str] = {}
    for case in cases:
        word = "watch" if case.action is Action.NOTHING else str(case.action)
        for batch_id in case.incident.batch_ids:
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


def case_files(services: Services, spec: ModelSpec) -> list[CaseFile]:
    """Every incident of the model in the order of opening; those that ended without a cause are left out."""
    ids = incident_ids(services.ledger, spec, limit=EVERYTHING)
    cases = [case_file(services.ledger, spec, incident) for incident in ids]
    return [case for case in cases if case is not None and not quiet(case)]
