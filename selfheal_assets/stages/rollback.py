"""Roll back: a person's reason in; the champion's alias put back on the last good version. Never deletes a version."""

import dagster as dg

from selfheal_assets.core.diagnosis import Cause
from selfheal_assets.core.errors import RegistryError
from selfheal_assets.core.incident import OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.policy import Action
from selfheal_assets.ports import Services
from selfheal_assets.stages.champion import CHAMPION, PREVIOUS
from selfheal_assets.stages.heal_decision import close, decided_by_hand
from selfheal_assets.stages.identity import MODEL_TAG


class Rollback(dg.Config):
    """What a person says about it."""

    reason: str
    """Why the serving champion is not good; it is recorded."""


def rollback(spec: ModelSpec) -> dg.JobDefinition:
    """The job `m_rollback`."""

    @dg.op(name=f"{spec.name}__rollback", description="Put the champion's alias back on the previous version.")
    def put_back(context: dg.OpExecutionContext, config: Rollback, selfheal: dg.ResourceParam[Services]) -> None:
        serving, previous = (selfheal.registry.by_alias(spec.name, alias) for alias in (CHAMPION, PREVIOUS))
        if serving is None or previous is None or serving.version == previous.version:
            raise RegistryError(
                f"A rollback needs a previous version that differs from the champion; received champion "
                f"{serving and serving.version}, previous {previous and previous.version}. Retrain instead."
            )
        decision = decided_by_hand(
            selfheal,
            spec,
            f"rollback-{context.run.run_id}"[:24],
            cause=Cause.BAD_RELEASE,
            action=Action.ROLLBACK,
            champion_version=serving.version,
            reason=config.reason,
        )
        selfheal.registry.move_alias(spec.name, CHAMPION, previous.version, expected=serving.version)
        selfheal.registry.tag(serving, {"verdict": "ROLLED_BACK"})
        close(
            selfheal,
            spec,
            decision.subject,
            OutcomeStatus.ROLLED_BACK,
            version=previous.version,
            reason=f"version {serving.version} was taken back: {config.reason}",
        )
        selfheal.notifier.notify(spec.name, f"rolled back to version {previous.version}", config.reason)

    @dg.job(
        name=f"{spec.name}_rollback",
        tags={MODEL_TAG: spec.name},
        description="Take the champion back by hand: the alias returns to the previous version. Set `reason`.",
    )
    def rollback_job() -> None:
        put_back()

    return rollback_job
