"""Read a model's past rollouts: which versions were rejected, and which may return at once. Never reads the ledger."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from selfheal_assets.core.rollout_state import Rollout, RolloutState
from selfheal_assets.core.serving_spec import RolloutSpec


def rejected(history: Iterable[Rollout]) -> frozenset[str]:
    """Versions that the judge found worse in some rollout; one that a person ended, or its time, is not among them."""
    return frozenset(rollout.challenger for rollout in history if rollout.rejected)


def skips_steps(spec: RolloutSpec, history: Iterable[Rollout], version: str, now: datetime) -> bool:
    """Whether a version served within the last `rollback_window_days`, and was not rejected.

    `history`: the last state of each rollout of the model. Its champion served until the bake began, or still did at
    its last transition; its challenger served when it was promoted.
    """
    past = list(history)
    if version in rejected(past):
        return False
    window = timedelta(days=spec.rollback_window_days)
    return bool(window) and any(now - at <= window for rollout in past for at in _served(rollout, version))


def _served(rollout: Rollout, version: str) -> list[datetime]:
    promoted = rollout.state is RolloutState.PROMOTED
    if version == rollout.champion:
        return [rollout.step_since if promoted or rollout.state is RolloutState.BAKE else rollout.changed_at]
    return [rollout.changed_at] if version == rollout.challenger and promoted else []
