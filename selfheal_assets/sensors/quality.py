"""Quality: what the checks sent to quarantine, and whether data still comes; evidence out. Never decides."""

from dataclasses import replace

import dagster as dg

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.notification import Severity
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.stages.batch_records import BatchStatus
from selfheal_assets.stages.supply_evidence import supply_evidence

RECORDS_PER_TICK = 200
BAD = (BatchStatus.QUARANTINED, BatchStatus.PARTIAL)


def quality_sensor(spec: ModelSpec) -> dg.SensorDefinition:
    """The sensor `m_quality_sensor`."""

    @dg.sensor(
        name=f"{spec.name}_quality_sensor",
        # It requests no run: the ingest run has quarantined the rows already.
        asset_selection=dg.AssetSelection.assets(dg.AssetKey([spec.name, "quarantined_batch"])),
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Watches the Great Expectations checks: tells what went to quarantine and why, and raises evidence when "
            "too few rows arrive, or none."
        ),
    )
    def quality(context: dg.SensorEvaluationContext, selfheal: dg.ResourceParam[Services]) -> dg.SensorResult:
        seen = int(context.cursor or 0)
        settled = selfheal.ledger.after(spec.name, RecordKind.BATCH_SETTLED, seen, RECORDS_PER_TICK)
        bad = [record for record in settled if record.status in BAD]
        for record in bad:
            _tell(selfheal, spec, record)
        names = ", ".join(record.subject for record in bad[:5])
        told = f"; {len(bad)} quarantined in whole or part: {names}" if bad else ""
        supply = supply_evidence(selfheal, spec)
        reason = f"{len(settled)} batches settled since the last look{told}; {supply}"
        context.log.info(reason)
        return dg.SensorResult(skip_reason=reason, cursor=str(settled[-1].sequence if settled else seen))

    return quality


def _tell(selfheal: Services, spec: ModelSpec, settled: Record) -> None:
    """Once, also when the cursor is lost: the ledger remembers what people were told."""
    now = selfheal.clock.now()
    told = replace(
        settled, key=f"told:{settled.key}", kind=RecordKind.NOTIFICATION, event_time=now, recorded_at=now, payload={}
    )
    if selfheal.ledger.append(told):
        rows, reasons = settled.payload["rows_quarantined"], "; ".join(settled.payload["reasons"])
        title = f"{settled.subject} {settled.status.lower()}"
        body = f"{rows} rows are in quarantine: {reasons}"
        selfheal.notifier.notify(spec.name, title, body, severity=Severity.WARNING)
