"""Promote: a judgement that passed in; the champion's alias moved and its reference frozen. Never overrules a gate."""

import dagster as dg

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import Services
from selfheal_assets.stages.candidates import candidate_of
from selfheal_assets.stages.heal_decision import heal_decision
from selfheal_assets.stages.identity import attributes, key
from selfheal_assets.stages.metadata import number, table
from selfheal_assets.stages.succession import freeze_reference, passed, promote


def champion_model(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/champion_model`."""

    @dg.asset(
        **attributes(spec, "champion_model", "mlflow"),
        deps=[key(spec, "validation_report")],
        description="The alias moves: champion to previous, challenger to champion; only after every gate passed.",
    )
    def champion_model(context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]) -> dg.MaterializeResult:
        decision = heal_decision(context, selfheal, spec)
        report = passed(selfheal, spec, decision)
        before = promote(selfheal, spec, report)
        version = candidate_of(selfheal, spec, decision)
        return dg.MaterializeResult(
            metadata={
                "decision": decision.subject,
                "version": version.version,
                "previous_version": str(before),
                spec.performance.metric: number(report["metric"]),
                "reason": decision.payload["reason"],
                "mlflow": dg.MetadataValue.url(selfheal.registry.link(version)),
            }
        )

    return champion_model


def reference_data(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/reference_data`."""

    @dg.asset(
        **attributes(spec, "reference_data", "parquet", "alibi-detect" if spec.drift.detector == "alibi" else "scipy"),
        deps=[key(spec, "champion_model"), key(spec, "training_set")],
        description="The rows and profile that drift is measured against: the champion's own, the most recent first.",
    )
    def reference_data(context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]) -> dg.MaterializeResult:
        decision = heal_decision(context, selfheal, spec)
        report = passed(selfheal, spec, decision)
        rows, profile = freeze_reference(selfheal, spec, decision, report)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(rows),
                "version": report["version"],
                "batches": ", ".join(profile["batch_ids"]),
                "head": table(rows.head(5)),
            }
        )

    return reference_data
