"""Take a batch in and measure it as the stages do: an arrival in, ledger records out. Never decides."""

from typing import TYPE_CHECKING

import numpy as np

from selfheal_assets.core.batch_gate import BatchJudgement
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import FrameRows, Overlay, Services
from selfheal_assets.rehearsal.history import Arrival
from selfheal_assets.rehearsal.wiring import RehearsalServices
from selfheal_assets.stages.batch_records import BatchStatus, close_batch, measured_after, settle
from selfheal_assets.stages.champion import SCORE, champion
from selfheal_assets.stages.checked_rows import JudgedRows, judged_rows, settle_judged
from selfheal_assets.stages.drift_evidence import measured_drift
from selfheal_assets.stages.estimated_evidence import estimated_evidence
from selfheal_assets.stages.feature_frame import feature_frame
from selfheal_assets.stages.label_evidence import measured_labels
from selfheal_assets.stages.label_gate import label_checks, label_quality, labels_record
from selfheal_assets.stages.supply_evidence import supply_evidence

if TYPE_CHECKING:
    import pandas as pd


def take_in(
    services: Services, spec: ModelSpec, arrival: Arrival, *, labelled: bool, known: BatchJudgement | None = None
) -> BatchJudgement | None:
    """Register, check, publish and score the batch; the checks' judgement, None of a file that cannot be read.

    `labelled` says whether its labels come with it; a judgement that is `known` is taken over without any check.
    """
    _register(services, spec, arrival)
    if arrival.rows is None:
        settle(services, spec, arrival.batch_id, BatchStatus.QUARANTINED, reasons=[arrival.unreadable])
        return None
    rows = FrameRows(arrival.rows if labelled else arrival.rows.assign(**{spec.data.label: np.nan}))
    if known is None:
        judged = judged_rows(services, spec, services.declared_checks(spec), arrival.batch_id, rows)
    else:
        judged = JudgedRows(rows=rows, outcomes=(), judgement=known, waived=frozenset())
    clean, _ = judged.split()
    if len(clean):
        services.batches.write(spec.name, "clean", arrival.batch_id, clean)
        services.features.publish(spec, arrival.batch_id, clean)
        frame = feature_frame(services, spec, clean)
        services.batches.write(spec.name, "features", arrival.batch_id, frame)
        _score(services, spec, arrival.batch_id, frame)
    settle_judged(services, spec, arrival.batch_id, judged)
    return judged.judgement


def observe(services: Services, spec: ModelSpec, batch_id: str, *, evidence: bool) -> None:
    """Measure a scored batch against its champion, and close it."""
    if evidence and services.batches.has(spec.name, "scores", batch_id):
        after = measured_after(services, spec, batch_id)
        scores = services.batches.read(spec.name, "scores", batch_id)
        drift, _ = measured_drift(services, spec, batch_id, scores)
        estimated = estimated_evidence(services, spec, batch_id, scores)
        found = [*drift, estimated, *measured_labels(services, spec, batch_id, scores)]
        now = services.clock.now()
        services.ledger.append(*(one.to_record(now, after) for one in found))
    if services.batches.has(spec.name, "clean", batch_id):
        close_batch(services, spec, batch_id)
    supply_evidence(services, spec)


def labels_arrive(services: RehearsalServices, spec: ModelSpec, arrival: Arrival, *, evidence: bool) -> None:
    """The outcomes of an earlier batch become known: its clean rows are labelled, and its champion measured again."""
    if arrival.rows is None or not services.batches.has(spec.name, "clean", arrival.batch_id):
        return
    known = arrival.rows.drop_duplicates(spec.data.event_id).set_index(spec.data.event_id)[spec.data.label]
    services.late.arrive(arrival.batch_id, known.astype("float64"))
    services.ledger.append(_labels(services, spec, arrival.batch_id))
    after = measured_after(services, spec, arrival.batch_id)
    quality = label_quality(services, spec, arrival.batch_id)
    found = [] if quality is None else [quality]
    if evidence and services.batches.has(spec.name, "scores", arrival.batch_id):
        scores = services.batches.read(spec.name, "scores", arrival.batch_id)
        found += measured_labels(services, spec, arrival.batch_id, scores)
    now = services.clock.now()
    services.ledger.append(*(one.to_record(now, after) for one in found))


def _labels(services: Services, spec: ModelSpec, batch_id: str) -> Record:
    clean = services.batches.read(spec.name, "clean", batch_id)
    (settled,) = services.ledger.newest(spec.name, RecordKind.BATCH_SETTLED, subject=batch_id)
    # All labels of a batch come at once, and once.
    overlay = Overlay(rows=len(clean), corrections=0, digest="all")
    checks = label_checks(services, spec)
    return labels_record(services, spec, settled, clean, overlay, files=[f"{batch_id}-labels"], checks=checks)


def _register(services: Services, spec: ModelSpec, arrival: Arrival) -> None:
    now = services.clock.now()
    services.ledger.append(
        Record(
            key=f"registered:{spec.name}:{arrival.batch_id}:0",
            model=spec.name,
            kind=RecordKind.BATCH_REGISTERED,
            subject=arrival.batch_id,
            status="REGISTERED",
            event_time=now,
            recorded_at=now,
            payload={"file_name": arrival.batch_id, "size_bytes": 0, "landed_at": now.isoformat()},
        )
    )


def _score(services: Services, spec: ModelSpec, batch_id: str, frame: "pd.DataFrame") -> None:
    serving = champion(services, spec)
    if serving is None:
        return
    scored = frame[[spec.data.event_id, spec.data.event_timestamp, spec.data.label]].copy()
    scored[SCORE] = services.registry.load(serving).score(frame[services.features.names(spec)])
    scored["champion_version"] = serving.version
    services.batches.write(spec.name, "scores", batch_id, scored)
