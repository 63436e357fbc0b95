"""Say who answers: the champion's alias and the newest rollout in, the traffic out. Never asks the registry."""

from selfheal_assets.core.record import Record
from selfheal_assets.core.rollout_state import Rollout, RolloutState
from selfheal_assets.core.traffic import Traffic


def traffic(champion_version: str | None, newest: Record | None) -> Traffic | None:
    """What a server does by the alias's version and the model's newest rollout record; None without a champion.

    Where alias and rollout disagree, as for a moment they do at each move, the way that is safe is taken: a version
    that was aborted answers nobody even while it has the alias. An alias on a version that the rollout does not know
    was moved by a person, and counts alone. Raises RolloutError for a record that cannot be read.
    """
    if champion_version is None:
        return None
    alone = Traffic(champion=champion_version)
    rollout = Rollout.from_record(newest) if newest is not None else None
    if rollout is None or champion_version not in (rollout.champion, rollout.challenger):
        return alone
    released = champion_version == rollout.challenger
    if rollout.state is RolloutState.ABORTED:
        return Traffic(champion=rollout.champion)
    if rollout.state is RolloutState.BAKE or (released and not rollout.ended):
        return Traffic(champion=rollout.challenger, standby=rollout.champion, rollout=rollout.id)
    if rollout.state is RolloutState.PROMOTED:
        return alone
    return Traffic(champion=champion_version, challenger=rollout.challenger, weight=rollout.weight, rollout=rollout.id)
