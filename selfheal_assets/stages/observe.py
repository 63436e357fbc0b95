"""Observe: a batch's features in; the champion's scores, a drift report and a performance report out. Never decides."""

from collections.abc import Iterator

import dagster as dg
import numpy as np

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import BatchRows, Model, Services
from selfheal_assets.stages.batch_records import close_batch, measured_after
from selfheal_assets.stages.champion import SCORE, champion
from selfheal_assets.stages.drift_evidence import drift_evidence
from selfheal_assets.stages.estimated_evidence import estimated_evidence
from selfheal_assets.stages.identity import attributes, by_batch, key, partitions
from selfheal_assets.stages.label_evidence import label_evidence, signals
from selfheal_assets.stages.metadata import number, summary, table
from selfheal_assets.stages.rollout_batches import Trial
from selfheal_assets.stages.stored_columns import scores_of

DRIFT, PERFORMANCE = "drift_report", "performance_report"


def predictions(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/predictions`."""

    @dg.asset(
        **attributes(spec, "predictions", "xgboost", "mlflow"),
        **by_batch(spec),
        deps=[key(spec, "features")],
        description="The champion's score of every clean row.",
    )
    def predictions(context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]) -> None:
        serving = champion(selfheal, spec)
        if serving is None:
            context.log.info("no champion yet: nothing is scored")
            return
        model, trial = selfheal.registry.load(serving), Trial(selfheal, spec)
        for batch_id in context.partition_keys:
            if selfheal.batches.has(spec.name, "features", batch_id):
                rows = selfheal.batches.rows(spec.name, "features", batch_id)
                mean = _score(selfheal, spec, batch_id, rows, model, serving.version)
                if left_out := trial.score(batch_id, rows):
                    context.log.warning(left_out)
                scored = selfheal.batches.rows(spec.name, "scores", batch_id)
                metadata = {
                    "dagster/row_count": len(scored),
                    "champion_version": serving.version,
                    "mean_score": number(mean),
                    "head": table(scored.at(np.arange(min(5, len(scored))))),
                }
                context.add_asset_metadata(metadata, key(spec, "predictions"), batch_id)

    return predictions


def _score(
    selfheal: Services, spec: ModelSpec, batch_id: str, features: BatchRows, model: Model, version: str
) -> float:
    """The batch's scores as a file, part after part; their mean."""
    identity, names = [spec.data.event_id, spec.data.event_timestamp, spec.data.label], selfheal.features.names(spec)
    scores = []
    with selfheal.batches.writing(spec.name, "scores", batch_id) as add:
        for part in features.parts():
            scores.append(model.score(part[names]))
            scored = part[identity].copy()
            scored[SCORE], scored["champion_version"] = scores[-1], version
            add(scored)
    return float(np.nanmean(np.concatenate(scores)))


def observed_batch(spec: ModelSpec) -> dg.AssetsDefinition:
    """The assets `m/drift_report` and `m/performance_report`, measured together: one without the other misleads."""
    detector = "alibi-detect" if spec.drift.detector == "alibi" else "scipy"

    @dg.multi_asset(
        name=f"{spec.name}__observed_batch",
        specs=[
            dg.AssetSpec(
                **attributes(spec, DRIFT, detector),
                deps=[key(spec, "predictions")],
                partitions_def=partitions(spec),
                description=f"Drift of each feature and of the score against the champion's reference ({detector}).",
            ),
            dg.AssetSpec(
                **attributes(spec, PERFORMANCE, "scipy"),
                deps=[key(spec, "predictions"), key(spec, "labels")],
                partitions_def=partitions(spec),
                description=f"The champion's realised {spec.performance.metric} on the batch's labels.",
            ),
        ],
        **by_batch(spec),
    )
    def observed_batch(
        context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]
    ) -> Iterator[dg.MaterializeResult]:
        for batch_id in context.partition_keys:
            if selfheal.batches.has(spec.name, "scores", batch_id):
                _measure(context, selfheal, spec, batch_id)
            else:
                context.log.info(f"{batch_id} has no scores: nothing to measure")
            close_batch(selfheal, spec, batch_id)
        yield dg.MaterializeResult(asset_key=key(spec, DRIFT))
        yield dg.MaterializeResult(asset_key=key(spec, PERFORMANCE))

    return observed_batch


def _measure(context: dg.AssetExecutionContext, selfheal: Services, spec: ModelSpec, batch_id: str) -> None:
    """Every kind of evidence, recorded at once, so that no decision is made on half of what the batch says."""
    after = measured_after(selfheal, spec, batch_id)
    scores = scores_of(selfheal, spec, batch_id)
    moved, moved_shown = drift_evidence(selfheal, spec, batch_id, scores)
    estimated = estimated_evidence(selfheal, spec, batch_id, scores)
    labelled, labelled_shown = label_evidence(selfheal, spec, batch_id, scores)
    now = selfheal.clock.now()
    selfheal.ledger.append(*(evidence.to_record(now, after) for evidence in (*moved, estimated, *labelled)))
    shown = {
        DRIFT: {**summary(moved[0]), **moved_shown, "signals": signals(moved)},
        PERFORMANCE: {**summary(labelled[0]), **labelled_shown, "signals": signals([*labelled, estimated])},
    }
    for evidence in (*moved, estimated, *labelled):
        context.log.info(f"{batch_id}: {evidence.signal} {evidence.status}: {evidence.reason}")
    for name, metadata in shown.items():
        context.add_asset_metadata(metadata, key(spec, name), batch_id)
