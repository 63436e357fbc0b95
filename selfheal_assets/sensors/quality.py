"""Quality: batches that the checks sent to quarantine in; a recorded decision and a notice out. Never retrains."""

import dagster as dg

from selfheal_assets.core.diagnosis import Cause, Diagnosis
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.policy import decide
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.stages.batch_records import BatchStatus

RECORDS_PER_TICK = 200
BAD = (BatchStatus.QUARANTINED, BatchStatus.PARTIAL)


def quality_sensor(spec: ModelSpec) -> dg.SensorDefinition:
    """The sensor `m_quality_sensor`."""

    @dg.sensor(
        name=f"{spec.name}_quality_sensor",
        # It requests no run: the ingest run has quarantined the rows by the same rules already.
        asset_selection=dg.AssetSelection.assets(dg.AssetKey([spec.name, "quarantined_batch"])),
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Watches the Great Expectations checks: records and tells what went to quarantine, and why.",
    )
    def quality(context: dg.SensorEvaluationContext, selfheal: dg.ResourceParam[Services]) -> dg.SensorResult:
        seen = int(context.cursor or 0)
        settled = selfheal.ledger.after(spec.name, RecordKind.BATCH_SETTLED, seen, RECORDS_PER_TICK)
        bad = [record for record in settled if record.status in BAD]
        for record in bad:
            _decide(selfheal, spec, record)
        names = ", ".join(record.subject for record in bad[:5])
        what = (
            f"; {len(bad)} quarantined in whole or part: {names}. No retraining: bad data is not learned from"
            if bad
            else ""
        )
        reason = f"{len(settled)} batches settled since the last look{what}"
        context.log.info(reason)
        return dg.SensorResult(skip_reason=reason, cursor=str(settled[-1].sequence if settled else seen))

    return quality


def _decide(selfheal: Services, spec: ModelSpec, settled: Record) -> None:
    """Record the decision once; tell people only the first time."""
    reasons = "; ".join(settled.payload["reasons"])
    diagnosis = Diagnosis(cause=Cause.BAD_DATA, reason=reasons, batch_ids=(settled.subject,))
    now = selfheal.clock.now()
    decision = decide(spec, diagnosis, champion_version=None, past=(), training_batches=(), now=now)
    rows = settled.payload["rows_quarantined"]
    if selfheal.ledger.append(decision.to_record(settled.event_time, now, rows=rows)):
        selfheal.notifier.notify(
            spec.name, f"{settled.subject} {settled.status.lower()}", f"{rows} rows are in quarantine: {reasons}"
        )
