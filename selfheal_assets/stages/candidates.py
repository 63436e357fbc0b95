"""Where a candidate comes from: a decision in, a version to be judged out. Never judges or promotes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.errors import TrainingError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.performance import worst_allowed
from selfheal_assets.core.record import Record
from selfheal_assets.core.statistics.metrics import higher_is_better, metric
from selfheal_assets.ports import Candidate, LabelledRows, Model, ModelVersion, Services, TunedParameters
from selfheal_assets.stages.champion import champion, reference_of
from selfheal_assets.stages.governance import origin
from selfheal_assets.stages.rollout_records import rejected_versions
from selfheal_assets.stages.training_frame import BATCH, HOLDOUT, data_hash, labelled

if TYPE_CHECKING:
    import pandas as pd

SIGNATURE_ROWS = 5
NEVER_AGAIN = ("ROLLED_BACK", "REJECTED")
"""Verdicts of versions that are not tried again."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One archived version on the freshest labelled rows."""

    version: ModelVersion
    value: float


def candidate_of(services: Services, spec: ModelSpec, decision: Record) -> ModelVersion:
    """The version that is judged for the decision: registered for it, or chosen from the archive."""
    chosen = services.batches.read_document(spec.name, f"candidate-{decision.subject}")
    for version in services.registry.versions(spec.name):
        if version.version == chosen["version"] if chosen else version.tags.get("decision_id") == decision.subject:
            return version
    raise TrainingError(
        f"A decision must have a candidate before it is judged; received {decision.subject} without one. "
        f"Materialize {spec.name}/candidate_model in the same run."
    )


def register(
    services: Services, spec: ModelSpec, decision: Record, frame: "pd.DataFrame", model: Model, tuned: TunedParameters
) -> ModelVersion:
    """Log and register a model that was made for the decision."""
    name, holdout = spec.performance.metric, labelled(services, spec, frame, HOLDOUT)
    metrics = {f"holdout_{name}": metric(name, holdout.label, model.score(holdout.features))}
    if tuned.trials:
        metrics[f"tuning_{name}"] = tuned.score
    candidate = Candidate(
        decision_id=decision.subject,
        parameters={**tuned.parameters, "window": tuned.window},
        metrics=metrics,
        batch_ids=list(dict.fromkeys(frame[BATCH])),
        data_hash=data_hash(frame),
        sample=holdout.features.head(SIGNATURE_ROWS),
        origin=origin(services.ledger, decision),
    )
    return services.registry.register(spec, model, candidate)


def recalibrated(services: Services, spec: ModelSpec, frame: "pd.DataFrame") -> Model:
    """The champion, its scores moved from the share of label 1 in its reference to that of the newest window."""
    import numpy as np

    serving = champion(services, spec)
    reference = reference_of(services, spec, serving.version) if serving else None
    if serving is None or reference is None:
        raise TrainingError(f"A recalibration needs a champion with a reference; {spec.name} has none. Retrain.")
    newest = list(dict.fromkeys(frame[BATCH]))[-min(spec.training.windows) :]
    shares = [float(rows[spec.data.label].mean()) for rows in (reference.rows, frame[frame[BATCH].isin(newest)])]
    before, after = (float(np.log(share / (1.0 - share))) for share in np.clip(shares, 1e-6, 1.0 - 1e-6))
    return services.trainer.recalibrate(services.registry.load(serving), after - before)


def best_archived(
    services: Services, spec: ModelSpec, frame: "pd.DataFrame"
) -> tuple[ModelVersion | None, list[Tried], str]:
    """The best earlier version on the freshest labelled rows, when it is as good as the champion must be; and the rest.

    Versions that learned from those rows' batches cannot be compared and are left out, as are those that were taken
    back, or rejected in a rollout. Within margin: not beyond the worst metric that the champion is allowed, and better
    than the champion.
    """
    rows = labelled(services, spec, frame, HOLDOUT)
    serving = champion(services, spec)
    if serving is None:
        return None, [], "there is no champion, so there is no archive"
    tried = [_tried(services, spec, version, rows) for version in _archive(services, spec, serving, rows)]
    reference = reference_of(services, spec, serving.version)
    worst = worst_allowed(spec.performance, reference.profile["metric"] if reference else None)
    sign = 1.0 if higher_is_better(spec.performance.metric) else -1.0
    own = _tried(services, spec, serving, rows).value
    good = [one for one in tried if worst is not None and sign * one.value >= max(sign * worst, sign * own)]
    if not good:
        limit = "unknown" if worst is None else f"{worst:.4f}"
        best = max((sign * one.value for one in tried), default=None)
        found = (
            "no earlier version can be compared" if best is None else f"the best of {len(tried)} has {sign * best:.4f}"
        )
        return None, tried, f"{found}; {limit} is needed, and the champion has {own:.4f}"
    best_one = max(good, key=lambda one: sign * one.value)
    reason = f"version {best_one.version.version} has {best_one.value:.4f}; the champion {own:.4f}"
    return best_one.version, tried, reason


def _archive(services: Services, spec: ModelSpec, serving: ModelVersion, rows: LabelledRows) -> Sequence[ModelVersion]:
    fresh, worse = set(map(str, rows.batch_id)), rejected_versions(services.ledger, spec)
    found = [
        version
        for version in services.registry.versions(spec.name)
        if version.version != serving.version
        and version.tags.get("verdict") not in NEVER_AGAIN
        and version.version not in worse
        and not fresh & set(learned_from(services, spec, version))
    ]
    return found[: spec.policy.archived_versions]


def learned_from(services: Services, spec: ModelSpec, version: ModelVersion) -> list[str]:
    """The batches of its training set."""
    decision = version.tags.get("decision_id", "")
    if not services.batches.has(spec.name, "training", decision):
        return []
    frame: Any = services.batches.read(spec.name, "training", decision)
    return list(dict.fromkeys(frame[BATCH]))


def _tried(services: Services, spec: ModelSpec, version: ModelVersion, rows: LabelledRows) -> Tried:
    score = services.registry.load(version).score(rows.features)
    return Tried(version=version, value=metric(spec.performance.metric, rows.label, score))
