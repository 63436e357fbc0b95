"""Promote: a judgement that passed in; the champion's alias moved and its reference frozen. Never overrules a gate."""

from typing import Any

import dagster as dg

from selfheal_assets.core.errors import AliasConflictError, TrainingError
from selfheal_assets.core.gates import Verdict
from selfheal_assets.core.incident import OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record
from selfheal_assets.ports import Services
from selfheal_assets.stages.candidates import candidate_of
from selfheal_assets.stages.champion import CHAMPION, PREVIOUS, SCORE, champion
from selfheal_assets.stages.heal_decision import close, heal_decision
from selfheal_assets.stages.identity import attributes, key
from selfheal_assets.stages.metadata import number, table
from selfheal_assets.stages.train import tuned_for
from selfheal_assets.stages.training_frame import BATCH, HOLDOUT, SPLIT


def champion_model(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/champion_model`."""

    @dg.asset(
        **attributes(spec, "champion_model", "mlflow"),
        deps=[key(spec, "validation_report")],
        description="The alias moves: champion to previous, challenger to champion; only after every gate passed.",
    )
    def champion_model(context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]) -> dg.MaterializeResult:
        decision = heal_decision(context, selfheal, spec)
        report = _passed(selfheal, spec, decision)
        before = _promote(selfheal, spec, report)
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


def _passed(selfheal: Services, spec: ModelSpec, decision: Record) -> dict[str, Any]:
    """The judgement, read again: the alias never moves on the word of the run alone."""
    report = selfheal.batches.read_document(spec.name, f"validation-{decision.subject}")
    if report is None or report["verdict"] != Verdict.PASS:
        verdict = report["verdict"] if report else "no judgement"
        raise TrainingError(
            f"Only a candidate whose every gate passed may serve; received {verdict} for decision {decision.subject}. "
            f"See {spec.name}/validation_report for the reasons."
        )
    return report


def _promote(selfheal: Services, spec: ModelSpec, report: dict[str, Any]) -> str | None:
    """Move the aliases, previous first, so that a crash between the two is mended by doing it again."""
    serving = champion(selfheal, spec)
    if serving is not None and serving.version == report["version"]:
        return report["champion_version"]
    judged_against = report["champion_version"]
    if (serving.version if serving else None) != judged_against:
        raise AliasConflictError(
            f"A candidate may only replace the champion it was judged against, version {judged_against}; received "
            f"version {serving.version if serving else None} under the alias. Materialize the validation report again."
        )
    if serving is not None:
        previous = selfheal.registry.by_alias(spec.name, PREVIOUS)
        expected = previous.version if previous else None
        selfheal.registry.move_alias(spec.name, PREVIOUS, serving.version, expected=expected)
    selfheal.registry.move_alias(spec.name, CHAMPION, report["version"], expected=judged_against)
    return judged_against


def reference_data(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/reference_data`."""

    @dg.asset(
        **attributes(spec, "reference_data", "parquet", "alibi-detect" if spec.drift.detector == "alibi" else "scipy"),
        deps=[key(spec, "champion_model"), key(spec, "training_set")],
        description="The rows and profile that drift is measured against: the champion's own, the most recent first.",
    )
    def reference_data(context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]) -> dg.MaterializeResult:
        decision = heal_decision(context, selfheal, spec)
        report = _passed(selfheal, spec, decision)
        rows, profile = _reference(selfheal, spec, decision, report)
        selfheal.batches.write(spec.name, "reference", report["version"], rows)
        selfheal.batches.write_document(spec.name, f"reference-{report['version']}", profile)
        close(
            selfheal,
            spec,
            decision.subject,
            OutcomeStatus.PROMOTED,
            version=report["version"],
            reason=f"{spec.performance.metric} {report['metric']:.4f} on the holdout",
            metric=report["metric"],
            previous_version=report["champion_version"],
        )
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(rows),
                "version": report["version"],
                "batches": ", ".join(profile["batch_ids"]),
                "head": table(rows.head(5)),
            }
        )

    return reference_data


def _reference(
    selfheal: Services, spec: ModelSpec, decision: Record, report: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """At most `drift.reference_rows` of the champion's window, newest first; scores on its holdout only.

    Scores of rows that it was trained on are closer to their labels than any new row's will be: as a reference they
    would make every healthy batch look drifted.
    """
    window = tuned_for(selfheal, spec, decision).window
    frame = selfheal.batches.read(spec.name, "training", decision.subject)
    learned = list(dict.fromkeys(frame[BATCH]))[-window:]
    rows = frame[frame[BATCH].isin(learned)].tail(spec.drift.reference_rows).reset_index(drop=True)
    model = selfheal.registry.load(candidate_of(selfheal, spec, decision))
    held_out = rows[SPLIT] == HOLDOUT
    rows[SCORE] = float("nan")
    rows.loc[held_out, SCORE] = model.score(rows.loc[held_out, selfheal.features.names(spec)])
    return rows, {
        "decision_id": decision.subject,
        "metric_name": spec.performance.metric,
        "metric": report["metric"],
        "importance": report["importance"],
        "batch_ids": list(dict.fromkeys(rows[BATCH])),
        "detector": spec.drift.detector,
    }
