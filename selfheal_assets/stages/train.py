"""Train: clean labelled batches in; a training set, tuned parameters and a registered candidate out. Never promotes."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dagster as dg

from selfheal_assets.core.errors import TrainingError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record
from selfheal_assets.core.statistics.metrics import metric
from selfheal_assets.ports import Candidate, LabelledRows, MlflowRun, ModelVersion, Services, TunedParameters
from selfheal_assets.stages.champion import champion
from selfheal_assets.stages.heal_decision import heal_decision
from selfheal_assets.stages.identity import attributes, key
from selfheal_assets.stages.metadata import number, table
from selfheal_assets.stages.training_frame import (
    BATCH,
    HOLDOUT,
    SPLIT,
    TRAIN,
    build_frame,
    data_hash,
    labelled,
)

if TYPE_CHECKING:
    import pandas as pd

SIGNATURE_ROWS = 5


def training_set(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/training_set`."""

    @dg.asset(
        **attributes(spec, "training_set", "feast", "parquet"),
        deps=[dg.AssetDep(key(spec, "features"), partition_mapping=dg.AllPartitionMapping()), key(spec, "labels")],
        description="Point-in-time join over clean, labelled batches, split by time into train and holdout.",
    )
    def training_set(context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]) -> dg.MaterializeResult:
        from selfheal_assets.stages.plots import as_markdown, training_window_plot

        decision = heal_decision(context, selfheal, spec)
        if not selfheal.batches.has(spec.name, "training", decision.subject):
            # Once a decision: labels that come while it is tried again would move rows over the split.
            built = build_frame(selfheal, spec, decision.payload["training_batches"])
            selfheal.batches.write(spec.name, "training", decision.subject, built)
        frame = _frame(selfheal, spec, decision)
        path = selfheal.batches.path(spec.name, "training", decision.subject)
        counts = frame.groupby([BATCH, SPLIT]).size().unstack(fill_value=0).reindex(frame[BATCH].unique())
        parts = frame[SPLIT].value_counts()
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(frame),
                "decision": decision.subject,
                "train_rows": int(parts.get(TRAIN, 0)),
                "holdout_rows": int(parts.get(HOLDOUT, 0)),
                "label_share": number(float(frame[spec.data.label].mean())),
                "batches": table(counts.reset_index()),
                "split_by_batch": dg.MetadataValue.md(
                    as_markdown(training_window_plot(counts), "train and holdout rows by batch")
                ),
                "data_hash": data_hash(frame),
                "path": dg.MetadataValue.path(path),
            }
        )

    return training_set


def tuned_parameters(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/tuned_parameters`."""

    @dg.asset(
        **attributes(spec, "tuned_parameters", "optuna", "xgboost"),
        deps=[key(spec, "training_set")],
        description="The Optuna study: XGBoost's parameters and the training window, begun from the champion's.",
    )
    def tuned_parameters(
        context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]
    ) -> dg.MaterializeResult:
        from selfheal_assets.stages.plots import as_markdown, tuning_plot

        decision = heal_decision(context, selfheal, spec)
        rows = labelled(selfheal, spec, _frame(selfheal, spec, decision), TRAIN)
        tuned = selfheal.tuner.tune(spec, f"{spec.name}-{decision.subject}", rows, _champion_parameters(selfheal, spec))
        selfheal.batches.write_document(spec.name, f"tuned-{decision.subject}", asdict(tuned))
        return dg.MaterializeResult(
            metadata={
                "decision": decision.subject,
                "score": number(tuned.score),
                "window": tuned.window,
                "parameters": dg.MetadataValue.json(dict(tuned.parameters)),
                "trials": table(
                    [{k: str(v) if isinstance(v, dict) else v for k, v in t.items()} for t in tuned.trials]
                ),
                "progress": dg.MetadataValue.md(
                    as_markdown(tuning_plot(tuned.trials, spec.performance.metric), "score by trial")
                ),
            }
        )

    return tuned_parameters


def candidate_model(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/candidate_model`."""

    @dg.asset(
        **attributes(spec, "candidate_model", "xgboost", "mlflow"),
        deps=[key(spec, "training_set"), key(spec, "tuned_parameters")],
        description="XGBoost with early stopping on the tuned window, registered in MLflow as the challenger.",
    )
    def candidate_model(
        context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services], mlflow_run: dg.ResourceParam[MlflowRun]
    ) -> dg.MaterializeResult:
        decision = heal_decision(context, selfheal, spec)
        frame = _frame(selfheal, spec, decision)
        tuned = tuned_for(selfheal, spec, decision)
        rows, holdout = (labelled(selfheal, spec, frame, split) for split in (TRAIN, HOLDOUT))
        model = selfheal.trainer.train(spec, rows, tuned)
        with mlflow_run(spec.name):
            version = selfheal.registry.register(
                spec, model, _candidate(spec, decision, frame, tuned, holdout, model.score(holdout.features))
            )
        return dg.MaterializeResult(
            metadata={
                "decision": decision.subject,
                "version": version.version,
                "mlflow": dg.MetadataValue.url(selfheal.registry.link(version)),
                "mlflow_run_id": version.run_id,
                "window": tuned.window,
                "importance": table([{"feature": f, "share_of_gain": s} for f, s in _by_share(model.importance())]),
            }
        )

    return candidate_model


def _candidate(
    spec: ModelSpec, decision: Record, frame: "pd.DataFrame", tuned: TunedParameters, holdout: LabelledRows, score: Any
) -> Candidate:
    name = spec.performance.metric
    return Candidate(
        decision_id=decision.subject,
        parameters={**tuned.parameters, "window": tuned.window},
        metrics={f"holdout_{name}": metric(name, holdout.label, score), f"tuning_{name}": tuned.score},
        batch_ids=list(dict.fromkeys(frame[BATCH])),
        data_hash=data_hash(frame),
        sample=holdout.features.head(SIGNATURE_ROWS),
    )


def _frame(services: Services, spec: ModelSpec, decision: Record) -> "pd.DataFrame":
    return services.batches.read(spec.name, "training", decision.subject)


def tuned_for(services: Services, spec: ModelSpec, decision: Record) -> TunedParameters:
    """What `m/tuned_parameters` found for the decision."""
    document = services.batches.read_document(spec.name, f"tuned-{decision.subject}")
    if document is None:
        raise TrainingError(
            f"A candidate must have tuned parameters; received decision {decision.subject}, which has none. "
            f"Materialize {spec.name}/tuned_parameters in the same run."
        )
    return TunedParameters(**document)


def candidate_of(services: Services, spec: ModelSpec, decision: Record) -> ModelVersion:
    """The version that was registered for the decision."""
    for version in services.registry.versions(spec.name):
        if version.tags.get("decision_id") == decision.subject:
            return version
    raise TrainingError(
        f"A decision must have a registered candidate before it is judged; received {decision.subject} without one. "
        f"Materialize {spec.name}/candidate_model in the same run."
    )


def _champion_parameters(services: Services, spec: ModelSpec) -> dict[str, Any] | None:
    serving = champion(services, spec)
    return dict(services.registry.load(serving).parameters) if serving else None


def _by_share(importance: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(importance.items(), key=lambda item: -item[1])
