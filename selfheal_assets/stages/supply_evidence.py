"""Record whether data still comes, whenever the answer changed: the ledger in, evidence out. Never decides."""

from datetime import datetime

from selfheal_assets.core.evidence import Evidence, Signal
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.supply import SupplyAssessment, assess_freshness, assess_volume
from selfheal_assets.ports import Services
from selfheal_assets.stages.batch_records import USABLE, BatchStatus

SETTLED = (*USABLE, BatchStatus.QUARANTINED)
EVIDENCE_READ = 200


def supply_evidence(selfheal: Services, spec: ModelSpec) -> str:
    """What was found, in words. A batch that says the same as the one before leaves no record."""
    ledger, quality = selfheal.ledger, spec.quality
    registered = ledger.newest(spec.name, RecordKind.BATCH_REGISTERED)
    if not registered or not (quality.min_batch_rows or quality.max_age_hours):
        return "volume and freshness are not watched"
    recent = ledger.recent_subjects(
        spec.name, RecordKind.BATCH_SETTLED, statuses=SETTLED, limit=max(quality.volume_batches, 1)
    )
    rows = [record.payload["rows_clean"] for record in reversed(recent)]
    newest = recent[0] if recent else registered[0]
    landed_at = datetime.fromisoformat(registered[0].payload["landed_at"])
    found = {
        Signal.VOLUME: (assess_volume(quality, rows), newest),
        Signal.FRESHNESS: (assess_freshness(quality, landed_at, selfheal.clock.now()), registered[0]),
    }
    counted = {Signal.VOLUME: tuple(record.subject for record in reversed(recent))}
    words = []
    for signal, (assessment, about) in found.items():
        if assessment is not None:
            _record(selfheal, spec, signal, assessment, about, counted.get(signal, ()))
            words.append(f"{signal} {assessment.status}: {assessment.reason}")
    return "; ".join(words)


def _record(
    selfheal: Services,
    spec: ModelSpec,
    signal: Signal,
    found: SupplyAssessment,
    about: Record,
    batch_ids: tuple[str, ...],
) -> None:
    evidence = [
        Evidence.from_record(r) for r in selfheal.ledger.newest(spec.name, RecordKind.EVIDENCE, limit=EVIDENCE_READ)
    ]
    last = next((e for e in evidence if e.signal is signal), None)
    if last is not None and (last.status, last.batch_id) == (found.status, about.subject):
        return
    now = selfheal.clock.now()
    new = Evidence(
        model=spec.name,
        signal=signal,
        status=found.status,
        batch_id=about.subject,
        champion_version=None,
        event_time=now,
        value=found.value,
        threshold=found.threshold,
        sample_size=0,
        reason=found.reason,
        strength=_strength(signal, found),
        batch_ids=batch_ids,
    )
    selfheal.ledger.append(new.to_record(now, selfheal.ledger.head().sequence))


def _strength(signal: Signal, found: SupplyAssessment) -> float | None:
    """Too few rows and too old both grow beyond 1."""
    if found.value is None or (signal is Signal.VOLUME and not found.value):
        return None
    return found.threshold / found.value if signal is Signal.VOLUME else found.value / found.threshold
