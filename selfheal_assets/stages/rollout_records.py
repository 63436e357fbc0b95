"""Look up a model's rollouts in the ledger, and write their next transition down. Never judges one."""

from datetime import datetime

from selfheal_assets.core.errors import RolloutError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.rollout import aborted
from selfheal_assets.core.rollout_history import rejected
from selfheal_assets.core.rollout_state import Rollout, RolloutState
from selfheal_assets.ports import Ledger

ROLLOUTS_READ = 100
TRANSITIONS_READ = 1_000


def newest_rollout(ledger: Ledger, spec: ModelSpec) -> Rollout | None:
    """The one that the servers follow, as of its last transition."""
    found = ledger.newest(spec.name, RecordKind.ROLLOUT)
    return Rollout.from_record(found[0]) if found else None


def rollout_of(ledger: Ledger, spec: ModelSpec, decision_id: str) -> Rollout | None:
    """Of the decision, as of its last transition; None where it has none."""
    found = ledger.newest(spec.name, RecordKind.ROLLOUT, subject=decision_id)
    return Rollout.from_record(found[0]) if found else None


def transitions_of(ledger: Ledger, spec: ModelSpec, rollout_id: str) -> list[tuple[Record, Rollout]]:
    """Oldest first."""
    found = ledger.newest(spec.name, RecordKind.ROLLOUT, subject=rollout_id, limit=TRANSITIONS_READ)
    return [(record, Rollout.from_record(record)) for record in reversed(found)]


def past_rollouts(ledger: Ledger, spec: ModelSpec) -> list[Rollout]:
    """The last state of each of the last rollouts."""
    found = ledger.recent_subjects(spec.name, RecordKind.ROLLOUT, statuses=tuple(RolloutState), limit=ROLLOUTS_READ)
    return [Rollout.from_record(record) for record in found]


def rejected_versions(ledger: Ledger, spec: ModelSpec) -> frozenset[str]:
    """Versions that the judge of a rollout found worse: they are not tried again."""
    return rejected(past_rollouts(ledger, spec))


def decision_of(ledger: Ledger, spec: ModelSpec, rollout: Rollout) -> Record:
    """The decision that it carries out."""
    return ledger.newest(spec.name, RecordKind.DECISION, subject=rollout.id)[0]


def has_outcome(ledger: Ledger, spec: ModelSpec, rollout: Rollout) -> bool:
    """Whether all that its end asks for is done."""
    return bool(ledger.newest(spec.name, RecordKind.OUTCOME, subject=rollout.id))


def write(ledger: Ledger, following: Rollout) -> bool:
    """Whether it was the next transition; False when somebody else's came first, which then stands."""
    return bool(ledger.append(following.to_record()))


def end(ledger: Ledger, spec: ModelSpec, by: str, reason: str, now: datetime) -> Rollout | None:
    """End the rollout that is under way, for `by`; None when none is. The servers take it back by the record alone."""
    while (standing := newest_rollout(ledger, spec)) is not None and not standing.ended:
        ended = aborted(standing, by, reason, now)
        if write(ledger, ended):
            return ended
    return None


def refuse_second(ledger: Ledger, spec: ModelSpec, decision_id: str) -> None:
    """Raises RolloutError while another rollout is under way, or its end is not carried out yet."""
    standing = newest_rollout(ledger, spec)
    if standing is None or standing.id == decision_id or (standing.ended and has_outcome(ledger, spec, standing)):
        return
    raise RolloutError(
        f"A model has one rollout at a time; received decision {decision_id} while that of {standing.id} is "
        f"{standing.state}. Wait for its end, or end it: `selfheal rollout abort {spec.name}`."
    )
