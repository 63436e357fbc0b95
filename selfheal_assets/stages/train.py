"""Train: clean labelled batches in; a training set, tuned parameters and a registered candidate out. Never promotes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from selfheal_assets.core.causes import Action
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record
from selfheal_assets.ports import MlflowRun, Model, Services, TunedParameters
from selfheal_assets.stages.candidates import candidate_of
from selfheal_assets.stages.heal_decision import heal_decision
from selfheal_assets.stages.identity import attributes, key
from selfheal_assets.stages.making import action_of, frame_of, gathered, made, reinstated, tuned_anew
from selfheal_assets.stages.metadata import number, table
from selfheal_assets.stages.pod_resources import in_own_pod
from selfheal_assets.stages.training_frame import BATCH, HOLDOUT, SPLIT, TRAIN, data_hash, row_cap_of

if TYPE_CHECKING:
    import pandas as pd


def training_set(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/training_set`."""

    @dg.asset(
        **attributes(spec, "training_set", "feast", "parquet"),
        **in_own_pod(spec),
        deps=[dg.AssetDep(key(spec, "features"), partition_mapping=dg.AllPartitionMapping()), key(spec, "labels")],
        description="Point-in-time join over clean, labelled batches, split by time into train and holdout.",
    )
    def training_set(context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]) -> dg.MaterializeResult:
        from selfheal_assets.stages.plots import as_markdown, training_window_plot

        decision = heal_decision(context, selfheal, spec)
        frame = gathered(selfheal, spec, decision, row_cap_of(context.run.tags))
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
        **in_own_pod(spec),
        deps=[key(spec, "training_set")],
        description="The Optuna study: XGBoost's parameters and the training window, begun from the champion's.",
    )
    def tuned_parameters(
        context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]
    ) -> dg.MaterializeResult:
        decision = heal_decision(context, selfheal, spec)
        if action_of(decision) is not Action.RETRAIN:
            return dg.MaterializeResult(metadata={"decision": decision.subject, "tuned": "no: nothing is retrained"})
        tuned = tuned_anew(selfheal, spec, decision)
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
        **in_own_pod(spec),
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
        frame = frame_of(selfheal, spec, decision)
        if action_of(decision) is Action.REINSTATE:
            metadata = _chosen(context, selfheal, spec, decision, frame)
        else:
            metadata = _shown(*made(selfheal, spec, decision, frame, mlflow_run))
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


def _shown(model: Model, tuned: TunedParameters) -> dict[str, Any]:
    """What a person sees of a candidate that was made."""
    return {
        "window": tuned.window,
        "importance": table([{"feature": f, "share_of_gain": s} for f, s in _by_share(model.importance())]),
    }


def _chosen(
    context: dg.AssetExecutionContext, selfheal: Services, spec: ModelSpec, decision: Record, frame: "pd.DataFrame"
) -> dict[str, Any] | None:
    """What a person sees of a choice from the archive; None when nothing fits."""
    fits, tried, reason = reinstated(selfheal, spec, decision, frame)
    context.log.info(f"archive: {reason}")
    compared = [{"version": one.version.version, spec.performance.metric: one.value} for one in tried]
    return {"reason": reason, "archive": table(compared)} if fits else None


def _by_share(importance: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(importance.items(), key=lambda item: -item[1])
