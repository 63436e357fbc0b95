"""Labels: label files in; every earlier batch's current labels and performance out. Never changes a batch's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from selfheal_assets.core.errors import UnreadableFileError, UnusableLabelsError
from selfheal_assets.core.evidence import Evidence
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.notification import Severity
from selfheal_assets.core.quality import Check
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.stages.batch_records import USABLE, measured_after
from selfheal_assets.stages.identity import attributes, key
from selfheal_assets.stages.label_evidence import label_evidence
from selfheal_assets.stages.label_gate import label_checks, label_quality, labels_record
from selfheal_assets.stages.metadata import number, summary, table

if TYPE_CHECKING:
    import pandas as pd

BATCHES_LOOKED_AT = 2_000
"""Labels are looked for in so many batches, the newest."""
ALONE_TAG = "selfheal/label_file"
"""On a run that shall take one file alone, because runs over all of them crashed."""


@dataclass(kw_only=True)
class _Join:
    """What one join did."""

    files: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    touched: list[Record] = field(default_factory=list)
    """The LABELS records of the batches for which labels came, oldest batch first."""
    rows_joined: int = 0
    waiting: int = 0
    unmatched: int = 0
    """Labels that are kept, and looked for no longer."""


def labels(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/labels`."""

    @dg.asset(
        **attributes(spec, "labels", "duckdb", "parquet"),
        deps=[dg.AssetDep(key(spec, "clean_batch"), partition_mapping=dg.AllPartitionMapping())],
        description="Labels that came in files of their own, joined by event id to the rows of any earlier batch.",
    )
    def labels(context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]) -> dg.MaterializeResult:
        done = _Join()
        with selfheal.labels.joining(spec.name):
            _take(context, selfheal, spec, done)
            waiting = selfheal.labels.waiting(spec.name, done.files)
            sequence = _settled_until(selfheal, spec)
            found = _found(selfheal, spec, waiting)
            _join(selfheal, spec, found, done)
            _measure(context, selfheal, spec, done.touched)
            rest = waiting[~waiting["event_id"].isin(found["event_id"])]
            selfheal.labels.keep_waiting(spec.name, rest, done.files, sequence)
            _set_aside(context, selfheal, spec, done)
        return dg.MaterializeResult(metadata=_metadata(done))

    return labels


def _set_aside(context: dg.AssetExecutionContext, selfheal: Services, spec: ModelSpec, done: _Join) -> None:
    """Labels whose row never came would otherwise be looked for in every batch for ever."""
    days = spec.performance.labels_wait_days
    gone = selfheal.labels.set_aside(spec.name, selfheal.clock.now() - timedelta(days=days))
    if gone:
        context.log.warning(f"{gone} labels found no row in {days:g} days: they are kept, and looked for no longer")
    done.waiting = selfheal.labels.waiting_rows(spec.name)
    done.unmatched = selfheal.labels.unmatched_rows(spec.name)


def _take(context: dg.AssetExecutionContext, selfheal: Services, spec: ModelSpec, done: _Join) -> None:
    """Every landed file, or the one that this run is for, becomes labels that wait, or goes to quarantine."""
    store, alone = selfheal.labels, context.run.tags.get(ALONE_TAG)
    for file in store.landed(spec.name):
        try:
            if alone and store.file_id(file.path) != alone:
                continue
            file_id = store.claim(spec.name, file.path)
        except OSError as error:  # Taken back by its sender just now, or not for us to read: the others go on.
            context.log.warning(f"{file.path.name} cannot be opened: {error.strerror}")
            continue
        if file_id is None:
            continue
        try:
            store.take(spec.name, file_id, spec.data, selfheal.declared_types(spec), selfheal.clock.now())
        except (UnreadableFileError, UnusableLabelsError) as error:
            context.log.warning(f"{file.path.name}: {error}")
            give_up(selfheal, spec, file_id, file.path.name, str(error))
            done.quarantined.append(file_id)
    done.files = [file_id for file_id in store.pending(spec.name) if alone in (None, file_id)]


def give_up(services: Services, spec: ModelSpec, file_id: str, name: str, reason: str) -> None:
    """Tell people, then put the file in quarantine: killed between the two, it is told again, never left out."""
    folder = services.labels.quarantined(spec.name, file_id)
    title, body = f"label file {name!r} is in quarantine", f"{reason} It is kept in {folder}."
    services.notifier.notify(spec.name, title, body, severity=Severity.WARNING)
    services.labels.quarantine(spec.name, file_id, reason)


def _settled_until(selfheal: Services, spec: ModelSpec) -> int:
    """Before the batches are listed: what settles after this is looked at by the sensor."""
    return max((r.sequence for r in selfheal.ledger.newest(spec.name, RecordKind.BATCH_SETTLED)), default=0)


def _found(selfheal: Services, spec: ModelSpec, waiting: "pd.DataFrame") -> "pd.DataFrame":
    """The waiting labels whose event id stands in a clean row, with the batch id."""
    settled = selfheal.ledger.recent_subjects(
        spec.name, RecordKind.BATCH_SETTLED, statuses=USABLE, limit=BATCHES_LOOKED_AT
    )
    paths = {r.subject: selfheal.batches.path(spec.name, "clean", r.subject) for r in settled}
    there = {batch_id: path for batch_id, path in paths.items() if path.exists()}
    holders = selfheal.labels.holders(there, spec.data.event_id, waiting["event_id"])
    return waiting.merge(holders, on="event_id")


def _join(selfheal: Services, spec: ModelSpec, found: "pd.DataFrame", done: _Join) -> None:
    """Lay the labels over each batch that they are for, then say so in the ledger."""
    ids = [str(batch_id) for batch_id in found["batch_id"].unique()]
    settled = selfheal.ledger.current(spec.name, RecordKind.BATCH_SETTLED, ids)
    checks = label_checks(selfheal, spec)
    for batch_id in sorted(ids, key=lambda b: (settled[b].event_time, b)):
        rows = found[found["batch_id"] == batch_id].drop(columns="batch_id")
        record = _laid_over(selfheal, spec, settled[batch_id], rows, checks)
        selfheal.ledger.append(record)
        done.touched.append(record)
    done.rows_joined = len(found)


def _laid_over(
    selfheal: Services, spec: ModelSpec, settled: Record, rows: "pd.DataFrame", checks: Sequence[Check]
) -> Record:
    batch_id, label = settled.subject, spec.data.label
    clean = selfheal.batches.read(spec.name, "clean", batch_id)
    brought = clean.set_index(spec.data.event_id)[label]
    overlay = selfheal.labels.merge(spec.name, batch_id, rows, brought)
    files = list(rows["file_id"].unique())
    return labels_record(selfheal, spec, settled, clean, overlay, files=files, checks=checks)


def _measure(context: dg.AssetExecutionContext, selfheal: Services, spec: ModelSpec, touched: Sequence[Record]) -> None:
    """What the labels say of every batch that they came for, recorded at once; rows without a score have no metric."""
    measured = list[tuple[list[Evidence], int, Mapping[str, Any]]]()
    checked = list[tuple[Evidence, int]]()
    for batch_id in (record.subject for record in touched):
        quality = label_quality(selfheal, spec, batch_id)
        if quality is not None:
            context.log.warning(f"{batch_id}: {quality.signal} {quality.status}: {quality.reason}")
            checked.append((quality, measured_after(selfheal, spec, batch_id)))
        if selfheal.batches.has(spec.name, "scores", batch_id):
            after = measured_after(selfheal, spec, batch_id)
            scores = selfheal.batches.read(spec.name, "scores", batch_id)
            found, metadata = label_evidence(selfheal, spec, batch_id, scores)
            measured.append((found, after, {**summary(found[0]), **metadata}))
    now = selfheal.clock.now()
    every = [*checked, *((evidence, after) for found, after, _ in measured for evidence in found)]
    selfheal.ledger.append(*(evidence.to_record(now, after) for evidence, after in every))
    for found, _, shown in measured:
        for evidence in found:
            context.log.info(f"{evidence.batch_id}: {evidence.signal} {evidence.status}: {evidence.reason}")
        batch_id = found[0].batch_id
        context.log_event(
            dg.AssetMaterialization(key(spec, "performance_report"), partition=batch_id, metadata=dict(shown))
        )


def _metadata(done: _Join) -> dict[str, Any]:
    batches = [
        {
            "batch": r.subject,
            "status": r.status,
            **{name: r.payload[name] for name in ("rows", "labelled_rows", "matured", "corrections")},
            "refused": "; ".join(r.payload["refused"]),
        }
        for r in reversed(done.touched)
    ]
    return {
        "files": dg.MetadataValue.int(len(done.files)),
        "quarantined_files": table([{"file": file_id} for file_id in done.quarantined]),
        "rows_joined": dg.MetadataValue.int(done.rows_joined),
        "corrections": dg.MetadataValue.int(sum(r.payload["corrections"] for r in done.touched)),
        "waiting": dg.MetadataValue.int(done.waiting),
        "unmatched": dg.MetadataValue.int(done.unmatched),
        "batches_touched": dg.MetadataValue.int(len(done.touched)),
        "least_matured": number(min((r.payload["matured"] for r in done.touched), default=None)),
        "batches": table(batches),
    }
