"""Put the champion's alias back on the last good version and end the decision. Never deletes a version."""

from selfheal_assets.core.errors import RegistryError
from selfheal_assets.core.incident import OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record
from selfheal_assets.ports import Services
from selfheal_assets.stages.champion import CHAMPION, PREVIOUS
from selfheal_assets.stages.governance import run_of, tag_again
from selfheal_assets.stages.heal_decision import close
from selfheal_assets.stages.rollout_records import end


def take_back(selfheal: Services, spec: ModelSpec, decision: Record, reason: str) -> None:
    """A rollout that is under way ends with it. Raises RegistryError without a previous version to go back to."""
    serving, previous = (selfheal.registry.by_alias(spec.name, alias) for alias in (CHAMPION, PREVIOUS))
    bad = decision.payload["champion_version"]
    if previous is None or previous.version == bad:
        raise RegistryError(
            f"A rollback needs a previous version that differs from the champion; received champion {bad}, "
            f"previous {previous and previous.version}. Retrain instead."
        )
    end(selfheal.ledger, spec, "a rollback", reason, selfheal.clock.now())
    if serving is None or serving.version != previous.version:
        selfheal.registry.move_alias(spec.name, CHAMPION, previous.version, expected=bad)
    taken_back = next(v for v in selfheal.registry.versions(spec.name) if v.version == bad)
    selfheal.registry.tag(taken_back, {"verdict": "ROLLED_BACK"})
    tag_again(selfheal, taken_back, decision)
    profile = selfheal.batches.read_document(spec.name, f"reference-{previous.version}") or {}
    close(
        selfheal,
        spec,
        decision.subject,
        OutcomeStatus.ROLLED_BACK,
        version=previous.version,
        reason=f"version {bad} was taken back: {reason}",
        metric=profile.get("metric"),
        **run_of(selfheal, previous),
    )
