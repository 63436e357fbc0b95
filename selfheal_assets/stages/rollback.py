"""Roll back: a person's reason in; the champion's alias put back on the last good version. Never deletes a version."""

import dagster as dg

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.errors import RegistryError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.stages.champion import champion
from selfheal_assets.stages.heal_decision import by_hand
from selfheal_assets.stages.identity import DECISION_TAG, MODEL_TAG
from selfheal_assets.stages.jobs import rollback_name
from selfheal_assets.stages.take_back import take_back


class Rollback(dg.Config):
    """What a person says about it."""

    reason: str
    """Why the serving champion is not good; it is recorded."""


def rollback(spec: ModelSpec) -> dg.JobDefinition:
    """The job `m_rollback`."""

    @dg.op(name=f"{spec.name}__rollback", description="Put the champion's alias back on the previous version.")
    def put_back(context: dg.OpExecutionContext, config: Rollback, selfheal: dg.ResourceParam[Services]) -> None:
        decision = _decision(context, selfheal, spec, config.reason)
        take_back(selfheal, spec, decision, config.reason)

    @dg.job(
        name=rollback_name(spec),
        tags={MODEL_TAG: spec.name},
        description="Take the champion back by hand: the alias returns to the previous version. Set `reason`.",
    )
    def rollback_job() -> None:
        put_back()

    return rollback_job


def _decision(context: dg.OpExecutionContext, selfheal: Services, spec: ModelSpec, reason: str) -> Record:
    """The policy's decision that the run's tag names, else one in the name of the person who launched the run."""
    decision_id = context.run.tags.get(DECISION_TAG) or f"rollback-{context.run.root_run_id or context.run.run_id}"[:24]
    found = selfheal.ledger.newest(spec.name, RecordKind.DECISION, subject=decision_id)
    if found:
        return found[0]
    # The sensor that looks for the run of a decision finds this one by the tag.
    context.instance.add_run_tags(context.run.run_id, {DECISION_TAG: decision_id})
    serving = champion(selfheal, spec)
    if serving is None:
        raise RegistryError(f"A rollback needs a champion; {spec.name} has none. Train the first model.")
    decision = by_hand(
        selfheal,
        spec,
        decision_id,
        cause=Cause.BAD_RELEASE,
        action=Action.ROLLBACK,
        champion_version=serving.version,
        reason=reason,
    )
    selfheal.ledger.append(decision)
    return decision
