"""Judge a candidate by the loop's gates on the same rows: models and rows in, verdicts out. Never promotes."""

import time
from pathlib import Path

from selfheal_assets.adapters.xgboost_trainer import XGBoostModel, XGBoostTrainer
from selfheal_assets.core.gate_comparison import no_slice_collapses, not_worse_than_champion
from selfheal_assets.core.gates import calibration, disjoint_holdout, latency, metric_floor, reload_agrees
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import LabelledRows

TIMED_ROWS, RELOADED_ROWS = 300, 500


def judge(
    spec: ModelSpec,
    model: XGBoostModel,
    champion: XGBoostModel,
    rows: LabelledRows,
    holdout: LabelledRows,
    folder: Path,
) -> list[str]:
    """The verdicts of the gates in the loop's order, less the one that asks the ledger for quarantined batches."""
    gate, name, seed = spec.gate, spec.performance.metric, spec.training.seed
    label, features = holdout.label, holdout.features
    score, against = model.score(features), champion.score(features)
    slices = {column: features[column].to_numpy(dtype=object) for column in gate.slices}
    least = spec.performance.min_rows
    reloaded = XGBoostTrainer().reload_scores(folder, features.head(RELOADED_ROWS))
    results = [
        metric_floor(name, label, score, floor=gate.metric_floor, min_rows=least),
        not_worse_than_champion(name, label, score, against, margin=gate.margin, confidence=gate.confidence, seed=seed),
        no_slice_collapses(
            name, label, score, against, slices, max_drop=gate.max_slice_drop, min_rows=gate.min_slice_rows
        ),
        calibration(label, score, max_error=gate.max_calibration_error, min_rows=least),
        latency(_milliseconds(model, holdout), max_ms=gate.max_latency_ms),
        reload_agrees(score[:RELOADED_ROWS], reloaded),
        disjoint_holdout(rows.event_id, holdout.event_id),
    ]
    return [str(result.verdict) for result in results]


def _milliseconds(model: XGBoostModel, holdout: LabelledRows) -> list[float]:
    times = []
    for position in range(min(TIMED_ROWS, len(holdout.features))):
        row = holdout.features.iloc[[position]]
        begun = time.perf_counter()
        model.score(row)
        times.append(1_000 * (time.perf_counter() - begun))
    return times
