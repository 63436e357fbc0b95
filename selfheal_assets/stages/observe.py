"""Observe: a batch's features in; the champion's scores, a drift report and a performance report out. Never decides."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from selfheal_assets.core.evidence import Evidence, Status
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import Services
from selfheal_assets.stages.batch_records import attempt
from selfheal_assets.stages.champion import SCORE, champion
from selfheal_assets.stages.drift_evidence import drift_evidence
from selfheal_assets.stages.identity import attributes, by_batch, key
from selfheal_assets.stages.metadata import number, table
from selfheal_assets.stages.performance_evidence import performance_evidence

if TYPE_CHECKING:
    import pandas as pd

Measured = tuple[Evidence, Mapping[str, Any]]


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
        model = selfheal.registry.load(serving)
        for batch_id in context.partition_keys:
            if selfheal.batches.has(spec.name, "features", batch_id):
                frame = selfheal.batches.read(spec.name, "features", batch_id)
                scored = frame[[spec.data.event_id, spec.data.event_timestamp, spec.data.label]].assign(
                    **{SCORE: model.score(frame[selfheal.features.names(spec)]), "champion_version": serving.version}
                )
                selfheal.batches.write(spec.name, "scores", batch_id, scored)
                metadata = {
                    "dagster/row_count": len(scored),
                    "champion_version": serving.version,
                    "mean_score": number(float(scored[SCORE].mean())),
                    "head": table(scored.head(5)),
                }
                context.add_asset_metadata(metadata, key(spec, "predictions"), batch_id)

    return predictions


def drift_report(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/drift_report`."""
    return _report(
        spec,
        "drift_report",
        f"Drift of every feature and of the score against the champion's reference ({spec.drift.detector}).",
        ("alibi-detect" if spec.drift.detector == "alibi" else "scipy",),
        drift_evidence,
    )


def performance_report(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/performance_report`."""
    return _report(
        spec,
        "performance_report",
        f"The champion's realised {spec.performance.metric} on the batch's labels.",
        ("scipy",),
        performance_evidence,
    )


def _report(
    spec: ModelSpec,
    name: str,
    description: str,
    kinds: tuple[str, ...],
    measure: "Callable[[Services, ModelSpec, str, pd.DataFrame], Measured]",
) -> dg.AssetsDefinition:
    @dg.asset(
        **attributes(spec, name, *kinds),
        **by_batch(spec),
        deps=[key(spec, "predictions")],
        description=description,
    )
    def report(context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]) -> None:
        for batch_id in context.partition_keys:
            if not selfheal.batches.has(spec.name, "scores", batch_id):
                context.log.info(f"{batch_id} has no scores: nothing to measure")
                continue
            evidence, metadata = measure(selfheal, spec, batch_id, selfheal.batches.read(spec.name, "scores", batch_id))
            tries = attempt(selfheal, spec, batch_id)
            selfheal.ledger.append(evidence.to_record(selfheal.clock.now(), tries))
            context.log.info(f"{batch_id}: {evidence.signal} {evidence.status}: {evidence.reason}")
            context.add_asset_metadata({**_summary(evidence), **metadata}, key(spec, name), batch_id)

    return report


def _summary(evidence: Evidence) -> dict[str, Any]:
    return {
        "status": dg.MetadataValue.text(str(evidence.status)),
        "reason": dg.MetadataValue.text(evidence.reason),
        str(evidence.signal): number(evidence.value),
        "threshold": number(evidence.threshold),
        "rows": dg.MetadataValue.int(evidence.sample_size),
        "champion_version": dg.MetadataValue.text(str(evidence.champion_version)),
        "raised": dg.MetadataValue.bool(evidence.status is Status.RAISED),
    }
