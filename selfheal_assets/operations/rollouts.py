"""A person's dealings with the rollout of a model: look, hold, let go on, end. Never judges it or moves an alias."""

from collections.abc import Callable
from datetime import datetime

from selfheal_assets.core.errors import RolloutError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.rollout import aborted, paused, resumed
from selfheal_assets.core.rollout_state import Rollout
from selfheal_assets.ports import Ledger
from selfheal_assets.stages.rollout_records import newest_rollout, transitions_of, write


def course(ledger: Ledger, spec: ModelSpec) -> list[Rollout]:
    """The newest rollout as of each of its transitions, oldest first; empty where the model never had one."""
    standing = newest_rollout(ledger, spec)
    return [one for _, one in transitions_of(ledger, spec, standing.id)] if standing else []


def pause(ledger: Ledger, spec: ModelSpec, who: str, now: datetime) -> Rollout:
    """Hold it at its weight. The judge goes on looking, and a failure still ends it."""
    return _changed(ledger, spec, lambda standing: paused(standing, who, now))


def resume(ledger: Ledger, spec: ModelSpec, who: str, now: datetime) -> Rollout:
    """Let it go on."""
    return _changed(ledger, spec, lambda standing: resumed(standing, who, now))


def abort(ledger: Ledger, spec: ModelSpec, who: str, reason: str, now: datetime) -> Rollout:
    """End it: the champion answers as soon as the servers see it, a second or two later."""
    if not reason.strip():
        raise RolloutError(f"A rollout that a person ends must say why; received no reason for {spec.name}. Give one.")
    return _changed(ledger, spec, lambda standing: aborted(standing, who, reason.strip(), now))


def _changed(ledger: Ledger, spec: ModelSpec, change: Callable[[Rollout], Rollout]) -> Rollout:
    standing = newest_rollout(ledger, spec)
    if standing is None:
        raise RolloutError(
            f"A rollout must have been opened; received {spec.name}, which never had one. "
            "A retraining opens one while a model server runs."
        )
    following = change(standing)
    if not write(ledger, following):
        raise RolloutError(
            f"A rollout is changed as it stands; received {standing.id}, which went on in this moment. "
            f"See `selfheal rollout status {spec.name}`, and say it again."
        )
    return following
