"""Measure the champion on a batch's labels: scores in, evidence and its picture out. Never decides."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.evidence import Evidence, Signal
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.performance import PerformanceAssessment, assess_performance
from selfheal_assets.core.record import RecordKind
from selfheal_assets.core.slices import Scored, slice_drops
from selfheal_assets.core.statistics.metrics import higher_is_better
from selfheal_assets.ports import Services
from selfheal_assets.stages.champion import SCORE, Reference, reference_of
from selfheal_assets.stages.current_labels import labels_of
from selfheal_assets.stages.metadata import number

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PLOTTED_BATCHES = 40


def performance_evidence(
    selfheal: Services, spec: ModelSpec, batch_id: str, scores: "pd.DataFrame"
) -> tuple[Evidence, dict[str, Any]]:
    """What `measured_performance` finds, and what a person sees of it."""
    import dagster as dg

    evidence, found, champion_metric = measured_performance(selfheal, spec, batch_id, scores)
    low, high = found.interval or (None, None)
    return evidence, {
        "interval_low": number(low),
        "interval_high": number(high),
        "champion_metric": number(champion_metric),
        "matured": number(found.matured),
        "unlabelled": dg.MetadataValue.int(found.unlabelled),
        "history": dg.MetadataValue.md(_history(selfheal, spec, evidence, found.interval, champion_metric)),
    }


def measured_performance(
    selfheal: Services, spec: ModelSpec, batch_id: str, scores: "pd.DataFrame"
) -> tuple[Evidence, PerformanceAssessment, float | None]:
    """The realised metric on the labels that came by now, and the metric that the champion was promoted with.

    The champion is the one that scored the rows, whoever serves by now.
    """
    version = str(scores["champion_version"].iloc[0])
    reference = reference_of(selfheal, spec, version)
    champion_metric = reference.profile["metric"] if reference else None
    label = labels_of(selfheal, spec, batch_id, scores)[spec.data.label].to_numpy(dtype=float, na_value=float("nan"))
    found = assess_performance(spec.performance, label, scores[SCORE].to_numpy(), champion_metric)
    evidence = Evidence(
        model=spec.name,
        signal=Signal.PERFORMANCE,
        status=found.status,
        batch_id=batch_id,
        champion_version=version,
        event_time=scores[spec.data.event_timestamp].min().to_pydatetime(),
        value=found.value,
        threshold=found.threshold,
        sample_size=found.rows,
        reason=found.reason,
        strength=_strength(spec, found, champion_metric),
        details={
            "interval": list(found.interval) if found.interval else None,
            "matured": found.matured,
            "champion_metric": champion_metric,
            "slices": _slices(selfheal, spec, reference, batch_id, label, scores),
        },
    )
    return evidence, found, champion_metric


def _slices(
    selfheal: Services,
    spec: ModelSpec,
    reference: Reference | None,
    batch_id: str,
    label: "np.ndarray",
    scores: "pd.DataFrame",
) -> list[dict[str, Any]]:
    """The levels of the declared slices whose metric fell furthest below the champion's holdout."""
    if reference is None or not spec.gate.slices:
        return []
    held_out = reference.rows[reference.rows[SCORE].notna()]
    batch = selfheal.batches.rows(spec.name, "features", batch_id).frame(spec.gate.slices)
    sides = [
        Scored(
            label=np_label,
            score=frame_score,
            slices={column: frame[column].to_numpy(dtype=object) for column in spec.gate.slices},
        )
        for frame, np_label, frame_score in (
            (held_out, held_out[spec.data.label].to_numpy(dtype=float), held_out[SCORE].to_numpy(dtype=float)),
            (batch, label.astype(float), scores[SCORE].to_numpy(dtype=float)),
        )
    ]
    return [asdict(drop) for drop in slice_drops(spec.performance.metric, *sides, min_rows=spec.gate.min_slice_rows)]


def _strength(spec: ModelSpec, found: PerformanceAssessment, champion_metric: float | None) -> float | None:
    """The drop that is beyond doubt, that of the interval's better end, in units of the drop that is allowed."""
    if found.interval is None or champion_metric is None:
        return None
    low, high = found.interval
    drop = champion_metric - high if higher_is_better(spec.performance.metric) else low - champion_metric
    return max(drop, 0.0) / spec.performance.max_drop


def _history(
    selfheal: Services,
    spec: ModelSpec,
    present: Evidence,
    interval: tuple[float, float] | None,
    champion_metric: float | None,
) -> str:
    from selfheal_assets.stages.plots import as_markdown, performance_plot

    records = selfheal.ledger.newest(spec.name, RecordKind.EVIDENCE, limit=2 * PLOTTED_BATCHES)
    past = [e for e in map(Evidence.from_record, records) if e.signal is Signal.PERFORMANCE]
    shown = sorted({e.batch_id: e for e in (*reversed(past), present)}.values(), key=lambda e: e.event_time)
    drawn = performance_plot(spec.performance.metric, shown, present.batch_id, interval, champion_metric)
    return as_markdown(drawn, "metric by batch")
