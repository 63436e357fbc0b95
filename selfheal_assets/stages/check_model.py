"""Check the model: a candidate and the champion on the same held-out rows in, a judgement out. Never moves an alias."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from selfheal_assets.core.gates import GateResult, Verdict
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import Services
from selfheal_assets.stages.heal_decision import heal_decision
from selfheal_assets.stages.identity import attributes, key
from selfheal_assets.stages.judgement import Judgement, judged
from selfheal_assets.stages.metadata import number, table
from selfheal_assets.stages.pod_resources import in_own_pod
from selfheal_assets.stages.unjudged import without_unjudged_warnings

GATES = {
    "metric_floor": "The holdout metric reaches the declared floor.",
    "not_worse_than_champion": "On the same holdout rows, not worse than the champion by more than the margin.",
    "no_slice_collapses": "No level of a declared slice falls far below the champion.",
    "calibration": "The expected calibration error is within bounds.",
    "latency": "Scoring one row is fast enough at the 99th percentile.",
    "reload_agrees": "The artifact, loaded by a fresh process, gives the same scores.",
    "no_quarantined_batches": "No quarantined batch is in the training set.",
    "disjoint_holdout": "No held-out event was trained on.",
}


def validation_report(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/validation_report`, with a blocking check a gate."""
    asset_key = key(spec, "validation_report")
    without_unjudged_warnings(spec)

    @dg.asset(
        **attributes(spec, "validation_report", "xgboost"),
        **in_own_pod(spec),
        deps=[key(spec, "candidate_model")],
        description="Judgement of the candidate: floors, champion comparison, slices, calibration, latency, reload.",
        check_specs=[
            dg.AssetCheckSpec(name, asset=asset_key, blocking=True, description=description)
            for name, description in GATES.items()
        ],
    )
    def validation_report(
        context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]
    ) -> dg.MaterializeResult:
        decision = heal_decision(context, selfheal, spec)
        judgement, results, report = judged(selfheal, spec, decision)
        context.log.info(f"{spec.name} version {report['version']}: {report['verdict']}")
        return dg.MaterializeResult(
            metadata=_metadata(judgement, results, report),
            check_results=[_check_result(asset_key, result) for result in results],
        )

    return validation_report


def _metadata(judgement: Judgement, results: Sequence[GateResult], report: dict[str, Any]) -> dict[str, Any]:
    from selfheal_assets.stages.plots import as_markdown, validation_plot

    drawn = validation_plot(results, judgement.holdout.label, judgement.score, judgement.champion_score)
    return {
        "verdict": report["verdict"],
        "decision": judgement.decision.subject,
        "version": report["version"],
        "champion_version": str(report["champion_version"]),
        f"holdout_{judgement.spec.performance.metric}": number(report["metric"]),
        "champion_metric": number(report["champion_metric"]),
        "holdout_rows": len(judgement.holdout.label),
        "gates": table(report["gates"]),
        "judgement": dg.MetadataValue.md(as_markdown(drawn, "the judgement")),
        "mlflow": dg.MetadataValue.url(judgement.services.registry.link(judgement.version)),
    }


def _check_result(asset_key: dg.AssetKey, result: GateResult) -> dg.AssetCheckResult:
    low, high = result.interval or (None, None)
    return dg.AssetCheckResult(
        check_name=result.name,
        asset_key=asset_key,
        passed=result.verdict is Verdict.PASS,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{result.verdict}: {result.reason}",
        metadata={
            "verdict": str(result.verdict),
            "value": number(result.value),
            "threshold": number(result.threshold),
            "interval": "none" if low is None else f"{low:.4f} to {high:.4f}",
        },
    )
