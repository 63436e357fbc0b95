"""Train: clean labelled batches in; a training set, tuned parameters and a registered candidate out. Never promotes."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from selfheal_assets.core.causes import Action
from selfheal_assets.core.errors import TrainingError
from selfheal_assets.core.incident import OutcomeStatus, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record
from selfheal_assets.ports import MlflowRun, Services, TunedParameters
from selfheal_assets.stages.candidates import best_archived, candidate_of, recalibrated, register
from selfheal_assets.stages.champion import champion
from selfheal_assets.stages.heal_decision import close, heal_decision
from selfheal_assets.stages.identity import attributes, key
from selfheal_assets.stages.metadata import number, table
from selfheal_assets.stages.training_frame import BATCH, HOLDOUT, SPLIT, TRAIN, build_frame, data_hash, labelled

if TYPE_CHECKING:
    import pandas as pd


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
        decision = heal_decision(context, selfheal, spec)
        if action_of(decision) is not Action.RETRAIN:
            return dg.MaterializeResult(metadata={"decision": decision.subject, "tuned": "no: nothing is retrained"})
        rows = labelled(selfheal, spec, _frame(selfheal, spec, decision), TRAIN)
        tuned = selfheal.tuner.tune(spec, f"{spec.name}-{decision.subject}", rows, _champion_parameters(selfheal, spec))
        selfheal.batches.write_document(spec.name, f"tuned-{decision.subject}", asdict(tuned))
        return dg.MaterializeResult(metadata={"decision": decision.subject, **_study(spec, tuned)})

    return tuned_parameters


def _study(spec: ModelSpec, tuned: TunedParameters) -> dict[str, Any]:
    from selfheal_assets.stages.plots import as_markdown, tuning_plot

    return {
        "score": number(tuned.score),
        "window": tuned.window,
        "parameters": dg.MetadataValue.json(dict(tuned.parameters)),
        "trials": table([{k: str(v) if isinstance(v, dict) else v for k, v in t.items()} for t in tuned.trials]),
        "progress": dg.MetadataValue.md(
            as_markdown(tuning_plot(tuned.trials, spec.performance.metric), "score by trial")
        ),
    }


def candidate_model(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/candidate_model`."""

    @dg.asset(
        **attributes(spec, "candidate_model", "xgboost", "mlflow"),
        deps=[key(spec, "training_set"), key(spec, "tuned_parameters")],
        # Where the archive holds nothing that fits, there is no candidate, and nothing downstream runs.
        output_required=False,
        description=(
            "The challenger: XGBoost trained on the tuned window, the champion recalibrated, or an archived version."
        ),
    )
    def candidate_model(
        context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services], mlflow_run: dg.ResourceParam[MlflowRun]
    ) -> Iterator[dg.MaterializeResult]:
        decision = heal_decision(context, selfheal, spec)
        frame = _frame(selfheal, spec, decision)
        if action_of(decision) is Action.REINSTATE:
            metadata = _reinstated(context, selfheal, spec, decision, frame)
        else:
            metadata = _made(selfheal, spec, decision, frame, mlflow_run)
        if metadata is not None:
            version = candidate_of(selfheal, spec, decision)
            yield dg.MaterializeResult(
                metadata={
                    "decision": decision.subject,
                    "action": str(action_of(decision)),
                    "version": version.version,
                    "mlflow": dg.MetadataValue.url(selfheal.registry.link(version)),
                    "mlflow_run_id": version.run_id,
                    **metadata,
                }
            )

    return candidate_model


def _made(
    selfheal: Services, spec: ModelSpec, decision: Record, frame: "pd.DataFrame", mlflow_run: MlflowRun
) -> dict[str, Any]:
    """Train, or recalibrate the champion, and register what came of it."""
    tuned = tuned_for(selfheal, spec, decision)
    if action_of(decision) is Action.RECALIBRATE:
        model = recalibrated(selfheal, spec, frame)
        tuned = replace(tuned, parameters=model.parameters)
    else:
        model = selfheal.trainer.train(spec, labelled(selfheal, spec, frame, TRAIN), tuned)
    with mlflow_run(spec.name):
        register(selfheal, spec, decision, frame, model, tuned)
    return {
        "window": tuned.window,
        "importance": table([{"feature": f, "share_of_gain": s} for f, s in _by_share(model.importance())]),
    }


def _reinstated(
    context: dg.AssetExecutionContext, selfheal: Services, spec: ModelSpec, decision: Record, frame: "pd.DataFrame"
) -> dict[str, Any] | None:
    """Choose from the archive; None, with the decision closed, when nothing fits."""
    found, tried, reason = best_archived(selfheal, spec, frame)
    context.log.info(f"archive: {reason}")
    if found is None:
        close(
            selfheal,
            spec,
            decision.subject,
            OutcomeStatus.REFUSED,
            version=None,
            reason=f"nothing to reinstate: {reason}",
            result=Result.NONE_FITS,
        )
        return None
    selfheal.batches.write_document(spec.name, f"candidate-{decision.subject}", {"version": found.version})
    compared = [{"version": one.version.version, spec.performance.metric: one.value} for one in tried]
    return {"reason": reason, "archive": table(compared)}


def _frame(services: Services, spec: ModelSpec, decision: Record) -> "pd.DataFrame":
    return services.batches.read(spec.name, "training", decision.subject)


def tuned_for(services: Services, spec: ModelSpec, decision: Record) -> TunedParameters:
    """What `m/tuned_parameters` found for the decision; the smallest window where nothing is tuned."""
    if action_of(decision) is not Action.RETRAIN:
        return TunedParameters(parameters={}, window=min(spec.training.windows), score=float("nan"))
    document = services.batches.read_document(spec.name, f"tuned-{decision.subject}")
    if document is None:
        raise TrainingError(
            f"A candidate must have tuned parameters; received decision {decision.subject}, which has none. "
            f"Materialize {spec.name}/tuned_parameters in the same run."
        )
    return TunedParameters(**document)


def action_of(decision: Record) -> Action:
    return Action(decision.payload["action"])


def _champion_parameters(services: Services, spec: ModelSpec) -> dict[str, Any] | None:
    serving = champion(services, spec)
    return dict(services.registry.load(serving).parameters) if serving else None


def _by_share(importance: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(importance.items(), key=lambda item: -item[1])
