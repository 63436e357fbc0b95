"""Chaos of the demonstration: a model that learned flipped labels, past validation and into a rollout. Never judges it.

What a join that turns the label round would make. Its scores are moved to the champion's mean, so that neither errors
nor time nor the distribution of the scores tell the two apart: only what comes of its answers does.
"""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.errors import RegistryError
from selfheal_assets.core.gates import Verdict
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.rollout import opened
from selfheal_assets.core.rollout_look import NOT_LOOKED, score_distance
from selfheal_assets.core.rollout_state import Rollout
from selfheal_assets.core.statistics.metrics import metric
from selfheal_assets.ports import LabelledRows, Model, ModelVersion, Services, TunedParameters
from selfheal_assets.stages.candidates import register
from selfheal_assets.stages.champion import champion
from selfheal_assets.stages.golden_probe import keep_probe
from selfheal_assets.stages.heal_decision import by_hand, training_batches
from selfheal_assets.stages.rollout_look import counts
from selfheal_assets.stages.training_frame import HOLDOUT, TRAIN, labelled

if TYPE_CHECKING:
    import numpy as np

DECISION = "chaos-bad-release"
REASON = "CHAOS: the demonstration forces a bad release past validation"
NEAREST = 1e-6
"""How near 0 and 1 a score is taken, so that its log odds are finite."""


def force_bad_release(services: Services, spec: ModelSpec) -> Rollout:
    """Train, register and release it; the rollout as it was opened. Raises RegistryError without a champion."""
    serving = champion(services, spec)
    if serving is None:
        raise RegistryError(f"A bad release needs a champion to be worse than; {spec.name} has none. Train one first.")
    learned = serving.tags["decision_id"]
    frame = services.batches.read(spec.name, "training", learned)
    train, holdout = (labelled(services, spec, frame, part) for part in (TRAIN, HOLDOUT))
    tuned = TunedParameters(**(services.batches.read_document(spec.name, f"tuned-{learned}") or {}))
    model = _flipped(services, spec, train, holdout, tuned, services.registry.load(serving))
    decision = by_hand(
        services,
        spec,
        DECISION,
        cause=Cause.UNKNOWN,
        action=Action.RETRAIN,
        champion_version=serving.version,
        reason=REASON,
        training_batches=training_batches(services, spec),
    )
    services.batches.write(spec.name, "training", DECISION, frame)
    services.batches.write_document(spec.name, f"tuned-{DECISION}", asdict(tuned))
    version = register(services, spec, decision, frame, model, replace(tuned, trials=()))
    report = _force(services, spec, version, serving, model, holdout)
    look, _ = counts(services.serving.status(spec.name).servers, serving.version, version.version)
    rollout = opened(
        spec.rollout,
        decision_id=DECISION,
        model=spec.name,
        champion=serving.version,
        challenger=version.version,
        now=services.clock.now(),
        look=look or NOT_LOOKED,
        expected_distance=report["score_distance"],
    )
    # Together: a decision without its rollout would be carried out by a run.
    services.ledger.append(decision, rollout.to_record())
    return rollout


def _flipped(
    services: Services, spec: ModelSpec, train: LabelledRows, holdout: LabelledRows, tuned: TunedParameters, good: Model
) -> Model:
    """Learned from the opposite of every label, its mean log odds moved to those of the good one."""
    bad = services.trainer.train(spec, replace(train, label=1.0 - train.label), tuned)
    means = [float(_log_odds(model.score(holdout.features)).mean()) for model in (good, bad)]
    return services.trainer.recalibrate(bad, means[0] - means[1])


def _log_odds(scores: "np.ndarray") -> "np.ndarray":
    import numpy as np
    from scipy.special import logit

    found: np.ndarray = logit(np.clip(scores, NEAREST, 1.0 - NEAREST))
    return found


def _force(
    services: Services,
    spec: ModelSpec,
    version: ModelVersion,
    serving: ModelVersion,
    model: Model,
    holdout: LabelledRows,
) -> dict[str, Any]:
    """The side door that selfheal does not have: a judgement that says PASS without a gate. The report of it."""
    score, name = model.score(holdout.features), spec.performance.metric
    champion_score = services.registry.load(serving).score(holdout.features)
    keep_probe(services.registry, version, holdout.features, score)
    report = {
        "verdict": Verdict.PASS,
        "version": version.version,
        "champion_version": serving.version,
        "metric": metric(name, holdout.label, score),
        "champion_metric": metric(name, holdout.label, champion_score),
        "score_distance": score_distance(champion_score, score),
        "importance": model.importance(),
        "gates": [],
        "forced": REASON,
    }
    services.batches.write_document(spec.name, f"validation-{DECISION}", report)
    services.registry.tag(version, {"forced": REASON})
    return report
