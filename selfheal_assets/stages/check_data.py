"""Check data: raw rows in; clean rows, quarantined rows and a check's verdict each out. Never changes a value."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import dagster as dg

from selfheal_assets.core.batch_gate import BatchVerdict
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.quality import Check, CheckOutcome, CheckStatus
from selfheal_assets.core.record import RecordKind
from selfheal_assets.ports import BatchRows, Services
from selfheal_assets.stages.batch_records import BatchStatus, settle
from selfheal_assets.stages.checked_rows import JudgedRows, judged_rows, settle_judged, waived_checks
from selfheal_assets.stages.identity import attributes, by_batch, key, partitions
from selfheal_assets.stages.metadata import table
from selfheal_assets.stages.release import Release, start_release
from selfheal_assets.stages.served_rows import event_rows

UNSHOWN = ("sql", "event_id", "across_batches")
"""Arguments of a check that are for machines."""

PARTS = {
    "clean_batch": "The rows that pass every check of severity error.",
    "quarantined_batch": "The rows that do not, with the reason; `selfheal quarantine` is the way back.",
}


def checked_batch(spec: ModelSpec, checks: Sequence[Check]) -> dg.AssetsDefinition:
    """The multi-asset of `m/clean_batch` and `m/quarantined_batch`, with one asset check a declared test."""

    @dg.multi_asset(
        name=f"{spec.name}__checked_batch",
        specs=[_part(spec, name, description) for name, description in PARTS.items()],
        check_specs=[_check_spec(spec, check) for check in checks],
        can_subset=True,
        **by_batch(spec),
    )
    def checked_batch(
        context: dg.AssetExecutionContext, config: Release, selfheal: dg.ResourceParam[Services]
    ) -> Iterator[dg.MaterializeResult]:
        any_clean = False
        for batch_id in context.partition_keys:
            start_release(context, selfheal, spec, batch_id, config)
            rows = _candidate(selfheal, spec, batch_id)
            if rows is None:
                _show_unreadable(context, selfheal, spec, batch_id)
                continue
            waived = waived_checks(selfheal, spec, batch_id)
            judged = judged_rows(selfheal, spec, checks, batch_id, rows, waived)
            any_clean |= _keep(context, selfheal, spec, batch_id, judged)
        if any_clean:
            yield dg.MaterializeResult(asset_key=key(spec, "clean_batch"))

    return checked_batch


def _described(check: Check) -> str:
    where = f", where {check.where}" if check.where else ""
    bounds = ", ".join(f"{name} {value}" for name, value in check.arguments.items() if name not in UNSHOWN)
    return f"{check.test} of {check.column or 'the batch'}{': ' + bounds if bounds else ''}{where}"


def _part(spec: ModelSpec, name: str, description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        **attributes(spec, name, "greatexpectations", "parquet"),
        deps=[key(spec, "raw_batch")],
        partitions_def=partitions(spec),
        description=description,
        skippable=True,
    )


def _check_spec(spec: ModelSpec, check: Check) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        check.name,
        asset=key(spec, "clean_batch"),
        description=check.description or _described(check),
        partitions_def=partitions(spec),
        metadata={"test": check.test, "severity": check.severity, "column": check.column or "(table)"},
    )


def _candidate(selfheal: Services, spec: ModelSpec, batch_id: str) -> BatchRows | None:
    """The rows to judge: repaired ones where a release brought them, else the raw ones; None when unreadable."""
    stage = "repaired" if selfheal.batches.has(spec.name, "repaired", batch_id) else "raw"
    if not selfheal.batches.has(spec.name, stage, batch_id):
        return None
    return event_rows(selfheal, spec, batch_id, selfheal.batches.rows(spec.name, stage, batch_id))


def _keep(
    context: dg.AssetExecutionContext, selfheal: Services, spec: ModelSpec, batch_id: str, judged: JudgedRows
) -> bool:
    """Write both parts, then settle the batch, then tell the UI. True when there are clean rows."""
    if judged.judgement.verdict is BatchVerdict.QUARANTINED and _stays_as_it_was(selfheal, spec, batch_id, judged):
        _show(context, selfheal, spec, batch_id, judged, unchanged=True)
        return True
    _write(selfheal, spec, batch_id, judged)
    settle_judged(selfheal, spec, batch_id, judged)
    _show(context, selfheal, spec, batch_id, judged)
    return judged.bad_rows < len(judged.rows)


def _write(selfheal: Services, spec: ModelSpec, batch_id: str, judged: JudgedRows) -> None:
    """Both parts as files, in one pass over the rows; the clean one is in place first."""
    bad_rows, batches = judged.bad_rows, selfheal.batches
    any_clean, any_bad = bad_rows < len(judged.rows), bad_rows > 0 or not len(judged.rows)
    with ExitStack() as writing:
        add_bad = writing.enter_context(batches.quarantining(spec.name, batch_id)) if any_bad else None
        add_clean = writing.enter_context(batches.writing(spec.name, "clean", batch_id)) if any_clean else None
        for clean, bad in judged.parts():
            if add_clean:
                add_clean(clean)
            if add_bad:
                add_bad(bad)
    if not any_clean:
        batches.remove(spec.name, "clean", batch_id)
    if any_bad:
        failed = [o.check.name for o in judged.outcomes if o.status is not CheckStatus.PASSED]
        reason = {"reasons": list(judged.judgement.reasons), "failed_checks": failed, "rows": bad_rows}
        batches.write_quarantine(spec.name, batch_id, None, {**reason, "at": selfheal.clock.now()})
    else:
        batches.retire_quarantine(spec.name, batch_id)


def _stays_as_it_was(selfheal: Services, spec: ModelSpec, batch_id: str, judged: JudgedRows) -> bool:
    """A release of a batch's bad rows that fails as a whole takes nothing from the rows that are clean already."""
    before = selfheal.ledger.current(spec.name, RecordKind.BATCH_SETTLED, [batch_id]).get(batch_id)
    if before is None or before.status != BatchStatus.PARTIAL:
        return False
    reasons = ["the release failed", *judged.judgement.reasons]
    _, kept = selfheal.batches.read_quarantine(spec.name, batch_id)
    selfheal.batches.write_quarantine(spec.name, batch_id, None, {**kept, "reasons": reasons})
    selfheal.batches.remove(spec.name, "repaired", batch_id)
    counts = {name: value for name, value in before.payload.items() if name not in ("reasons", "landed_at")}
    settle(selfheal, spec, batch_id, BatchStatus.PARTIAL, reasons=reasons, event_time=before.event_time, **counts)
    return True


def _show(
    context: dg.AssetExecutionContext,
    selfheal: Services,
    spec: ModelSpec,
    batch_id: str,
    judged: JudgedRows,
    *,
    unchanged: bool = False,
) -> None:
    """`unchanged`: neither part was written."""
    from selfheal_assets.stages.plots import as_markdown, quality_plot

    for outcome in judged.outcomes:
        context.log_event(_evaluation(spec, batch_id, outcome, waived=outcome.check.name in judged.waived))
    docs = selfheal.checks.report_uri(spec.name)
    metadata = {
        "verdict": dg.MetadataValue.text(str(judged.judgement.verdict)),
        "reasons": dg.MetadataValue.text("; ".join(judged.judgement.reasons) or "every check of severity error passed"),
        "rows_landed": dg.MetadataValue.int(len(judged.rows)),
        "failing_share": dg.MetadataValue.md(
            as_markdown(quality_plot(judged.outcomes, len(judged.rows)), "failing share by check")
        ),
        **({"data_docs": dg.MetadataValue.url(docs)} if docs else {}),
    }
    bad_rows = judged.bad_rows
    if not unchanged and bad_rows < len(judged.rows):
        shown = {"dagster/row_count": len(judged.rows) - bad_rows, "head": table(judged.head(5))}
        context.add_asset_metadata({**metadata, **shown}, key(spec, "clean_batch"), batch_id)
    if (not unchanged and bad_rows) or not len(judged.rows):
        kept = {**metadata, "dagster/row_count": bad_rows, "sample": table(judged.head(10, clean=False))}
        _show_quarantined(context, selfheal, spec, batch_id, kept)


def _show_unreadable(context: dg.AssetExecutionContext, selfheal: Services, spec: ModelSpec, batch_id: str) -> None:
    if selfheal.batches.in_quarantine(spec.name, batch_id):
        _, reason = selfheal.batches.read_quarantine(spec.name, batch_id)
        _show_quarantined(
            context, selfheal, spec, batch_id, {"verdict": "QUARANTINED", "reasons": reason["reasons"][0]}
        )


def _show_quarantined(
    context: dg.AssetExecutionContext, selfheal: Services, spec: ModelSpec, batch_id: str, metadata: dict[str, Any]
) -> None:
    folder = dg.MetadataValue.path(selfheal.batches.quarantine(spec.name, batch_id))
    context.log_event(
        dg.AssetMaterialization(
            key(spec, "quarantined_batch"), partition=batch_id, metadata={**metadata, "folder": folder}
        )
    )


def _evaluation(spec: ModelSpec, batch_id: str, outcome: CheckOutcome, *, waived: bool) -> dg.AssetCheckEvaluation:
    gentle = waived or outcome.check.severity == "warn"
    return dg.AssetCheckEvaluation(
        asset_key=key(spec, "clean_batch"),
        check_name=outcome.check.name,
        passed=outcome.status is CheckStatus.PASSED,
        severity=dg.AssetCheckSeverity.WARN if gentle else dg.AssetCheckSeverity.ERROR,
        description=f"{'waived: ' if waived else ''}{outcome.reason}" or None,
        partition=batch_id,
        blocking=False,
        metadata={
            "status": dg.MetadataValue.text(str(outcome.status)),
            "severity": dg.MetadataValue.text(outcome.check.severity),
            "observed": dg.MetadataValue.text("none" if outcome.observed is None else str(outcome.observed)),
            "failing_rows": dg.MetadataValue.int(len(outcome.failing_rows)),
            "sample": table(outcome.sample),
        },
    )
