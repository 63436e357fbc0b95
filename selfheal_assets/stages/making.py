"""Carry out what a decision says about its candidate: made anew, or found in the archive. Never judges or promotes."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.causes import Action
from selfheal_assets.core.errors import TrainingError
from selfheal_assets.core.incident import OutcomeStatus, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record
from selfheal_assets.ports import MlflowRun, Model, Services, TunedParameters
from selfheal_assets.stages.candidates import Tried, best_archived, recalibrated, register
from selfheal_assets.stages.champion import champion
from selfheal_assets.stages.governance import tag_again
from selfheal_assets.stages.heal_decision import close
from selfheal_assets.stages.training_frame import TRAIN, build_frame, labelled, thinned

if TYPE_CHECKING:
    import pandas as pd


def gathered(selfheal: Services, spec: ModelSpec, decision: Record, row_cap: int | None = None) -> "pd.DataFrame":
    """The rows of the decision's batches, split, `row_cap` of them at most; built once a decision."""
    if not selfheal.batches.has(spec.name, "training", decision.subject):
        # Once a decision: labels that come while it is tried again would move rows over the split.
        built = build_frame(selfheal, spec, decision.payload["training_batches"], row_cap)
        selfheal.batches.write(spec.name, "training", decision.subject, built)
    frame = frame_of(selfheal, spec, decision)
    if row_cap is not None and len(frame) > row_cap:  # An earlier try of the decision ran out of memory on it.
        selfheal.batches.write(spec.name, "training", decision.subject, thinned(frame, row_cap))
        frame = frame_of(selfheal, spec, decision)
    return frame


def tuned_anew(selfheal: Services, spec: ModelSpec, decision: Record) -> TunedParameters:
    """The study of a decision to retrain, begun from the champion's parameters."""
    rows = labelled(selfheal, spec, frame_of(selfheal, spec, decision), TRAIN)
    tuned = selfheal.tuner.tune(spec, f"{spec.name}-{decision.subject}", rows, champion_parameters(selfheal, spec))
    selfheal.batches.write_document(spec.name, f"tuned-{decision.subject}", asdict(tuned))
    return tuned


def made(
    selfheal: Services, spec: ModelSpec, decision: Record, frame: "pd.DataFrame", mlflow_run: MlflowRun
) -> tuple[Model, TunedParameters]:
    """Train, or recalibrate the champion, and register what came of it."""
    tuned = tuned_for(selfheal, spec, decision)
    if action_of(decision) is Action.RECALIBRATE:
        model = recalibrated(selfheal, spec, frame)
        tuned = replace(tuned, parameters=model.parameters)
    else:
        model = selfheal.trainer.train(spec, labelled(selfheal, spec, frame, TRAIN), tuned)
    with mlflow_run(spec.name):
        register(selfheal, spec, decision, frame, model, tuned)
    return model, tuned


def reinstated(
    selfheal: Services, spec: ModelSpec, decision: Record, frame: "pd.DataFrame"
) -> tuple[bool, Sequence[Tried], str]:
    """Choose from the archive: whether something fits, what was tried, and why. The decision ends when nothing does."""
    found, tried, reason = best_archived(selfheal, spec, frame)
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
        return False, tried, reason
    selfheal.batches.write_document(spec.name, f"candidate-{decision.subject}", {"version": found.version})
    tag_again(selfheal, found, decision)
    return True, tried, reason


def frame_of(services: Services, spec: ModelSpec, decision: Record) -> "pd.DataFrame":
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


def champion_parameters(services: Services, spec: ModelSpec) -> dict[str, Any] | None:
    serving = champion(services, spec)
    return dict(services.registry.load(serving).parameters) if serving else None
