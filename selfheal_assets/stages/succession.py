"""Give a candidate that passed its gates the champion's place, and freeze its reference. Never overrules a gate."""

from typing import TYPE_CHECKING, Any

from selfheal_assets.core.errors import AliasConflictError, TrainingError
from selfheal_assets.core.gates import Verdict
from selfheal_assets.core.incident import OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record
from selfheal_assets.core.rollout_look import bucketed
from selfheal_assets.ports import Services
from selfheal_assets.stages.candidates import candidate_of
from selfheal_assets.stages.champion import CHAMPION, PREVIOUS, SCORE, champion
from selfheal_assets.stages.governance import run_of
from selfheal_assets.stages.heal_decision import close
from selfheal_assets.stages.making import tuned_for
from selfheal_assets.stages.training_evidence import promotion_evidence
from selfheal_assets.stages.training_frame import BATCH, HOLDOUT, SPLIT

if TYPE_CHECKING:
    import pandas as pd


def passed(selfheal: Services, spec: ModelSpec, decision: Record) -> dict[str, Any]:
    """The judgement, read again: the alias never moves on the word of the run alone."""
    report = selfheal.batches.read_document(spec.name, f"validation-{decision.subject}")
    if report is None or report["verdict"] != Verdict.PASS:
        verdict = report["verdict"] if report else "no judgement"
        raise TrainingError(
            f"Only a candidate whose every gate passed may serve; received {verdict} for decision {decision.subject}. "
            f"See {spec.name}/validation_report for the reasons."
        )
    return report


def promote(selfheal: Services, spec: ModelSpec, report: dict[str, Any]) -> str | None:
    """Move the aliases, previous first, so that a crash between the two is mended by doing it again."""
    judged_against = report["champion_version"]
    if serves(selfheal, spec, report):
        return judged_against
    serving = champion(selfheal, spec)
    if serving is not None:
        previous = selfheal.registry.by_alias(spec.name, PREVIOUS)
        expected = previous.version if previous else None
        selfheal.registry.move_alias(spec.name, PREVIOUS, serving.version, expected=expected)
    selfheal.registry.move_alias(spec.name, CHAMPION, report["version"], expected=judged_against)
    return judged_against


def serves(selfheal: Services, spec: ModelSpec, report: dict[str, Any]) -> bool:
    """Whether the candidate has the alias. Raises AliasConflictError when neither it nor its champion does."""
    serving, judged_against = champion(selfheal, spec), report["champion_version"]
    if serving is not None and serving.version == report["version"]:
        return True
    if (serving.version if serving else None) != judged_against:
        raise AliasConflictError(
            f"A candidate may only replace the champion it was judged against, version {judged_against}; received "
            f"version {serving.version if serving else None} under the alias. Materialize the validation report again."
        )
    return False


def freeze_reference(
    selfheal: Services, spec: ModelSpec, decision: Record, report: dict[str, Any]
) -> "tuple[pd.DataFrame, dict[str, Any]]":
    """Keep the champion's reference, and end the decision; the rows and the profile."""
    rows, profile = keep_reference(selfheal, spec, decision, report)
    end_promoted(selfheal, spec, decision, report)
    return rows, profile


def keep_reference(
    selfheal: Services, spec: ModelSpec, decision: Record, report: dict[str, Any]
) -> "tuple[pd.DataFrame, dict[str, Any]]":
    """Freeze what drift is measured against under the new champion; the rows and the profile."""
    rows, profile = _reference(selfheal, spec, decision, report)
    selfheal.batches.write(spec.name, "reference", report["version"], rows)
    selfheal.batches.write_document(spec.name, f"reference-{report['version']}", profile)
    return rows, profile


def is_frozen(selfheal: Services, spec: ModelSpec, decision_id: str, version: str) -> bool:
    """Whether the version's reference was kept for this decision: the last thing that a promotion does."""
    profile = selfheal.batches.read_document(spec.name, f"reference-{version}")
    return profile is not None and profile["decision_id"] == decision_id


def end_promoted(selfheal: Services, spec: ModelSpec, decision: Record, report: dict[str, Any]) -> None:
    """Say that the candidate serves, and end the decision. Its reference must have been kept."""
    profile = selfheal.batches.read_document(spec.name, f"reference-{report['version']}") or {}
    now = selfheal.clock.now()
    evidence = promotion_evidence(decision, report, profile["batch_ids"][-1], now)
    selfheal.ledger.append(evidence.to_record(now, decision.sequence))
    close(
        selfheal,
        spec,
        decision.subject,
        OutcomeStatus.PROMOTED,
        version=report["version"],
        reason=f"{spec.performance.metric} {report['metric']:.4f} on the holdout",
        metric=report["metric"],
        previous_version=report["champion_version"],
        **run_of(selfheal, candidate_of(selfheal, spec, decision)),
    )


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
    scores = rows[SCORE].to_numpy(dtype="float64")
    return rows, {
        "decision_id": decision.subject,
        "metric_name": spec.performance.metric,
        "metric": report["metric"],
        "importance": report["importance"],
        "score_counts": list(bucketed(scores)),
        "batch_ids": list(dict.fromkeys(rows[BATCH])),
        "detector": spec.drift.detector,
    }
