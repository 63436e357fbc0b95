"""Promote: a judgement that passed in; the champion's alias moved and its reference frozen. Never overrules a gate.

With a rollout the alias moves at the beginning of the bake, and the decision ends with the rollout.
"""

from collections.abc import Iterator

import dagster as dg

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record
from selfheal_assets.core.rollout_state import Rollout, RolloutState
from selfheal_assets.ports import Services
from selfheal_assets.stages.candidates import candidate_of
from selfheal_assets.stages.identity import attributes, key
from selfheal_assets.stages.metadata import number, table
from selfheal_assets.stages.rollout import decision_to_release
from selfheal_assets.stages.rollout_course import RELEASED
from selfheal_assets.stages.rollout_records import has_outcome, rollout_of
from selfheal_assets.stages.succession import end_promoted, keep_reference, passed, promote


def champion_model(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/champion_model`."""

    @dg.asset(
        **attributes(spec, "champion_model", "mlflow"),
        deps=[key(spec, "validation_report" if spec.rollout.over == "none" else "rollout")],
        # While a rollout is on its way there is no new champion yet, and after its end perhaps none.
        output_required=spec.rollout.over == "none",
        description="The alias moves: champion to previous, challenger to champion; only after every gate passed.",
    )
    def champion_model(
        context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]
    ) -> Iterator[dg.MaterializeResult]:
        decision = decision_to_release(context, selfheal, spec)
        report = passed(selfheal, spec, decision)
        if not _may_serve(selfheal, spec, decision):
            return
        before = promote(selfheal, spec, report)
        version = candidate_of(selfheal, spec, decision)
        yield dg.MaterializeResult(
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
        output_required=spec.rollout.over == "none",
        description="The rows and profile that drift is measured against: the champion's own, the most recent first.",
    )
    def reference_data(
        context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]
    ) -> Iterator[dg.MaterializeResult]:
        decision = decision_to_release(context, selfheal, spec)
        report = passed(selfheal, spec, decision)
        if not _may_serve(selfheal, spec, decision):
            return
        rows, profile = keep_reference(selfheal, spec, decision, report)
        standing = _rollout(selfheal, spec, decision)
        if standing is None or standing.state is RolloutState.PROMOTED:
            end_promoted(selfheal, spec, decision, report)
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(rows),
                "version": report["version"],
                "batches": ", ".join(profile["batch_ids"]),
                "head": table(rows.head(5)),
            }
        )

    return reference_data


def _rollout(selfheal: Services, spec: ModelSpec, decision: Record) -> Rollout | None:
    return None if spec.rollout.over == "none" else rollout_of(selfheal.ledger, spec, decision.subject)


def _may_serve(selfheal: Services, spec: ModelSpec, decision: Record) -> bool:
    """At once without a rollout; with one, from its bake until its end is carried out."""
    standing = _rollout(selfheal, spec, decision)
    if standing is None:
        return True
    return standing.state in RELEASED and not has_outcome(selfheal.ledger, spec, standing)
