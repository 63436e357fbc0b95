"""Rollouts: what the servers counted in; the rollout's next state, and the run that it asks for, out. Never trains."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import dagster as dg

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.rollout import aborted, advance
from selfheal_assets.core.rollout_counts import answering_versions
from selfheal_assets.core.rollout_look import Look
from selfheal_assets.core.rollout_state import Rollout, RolloutState
from selfheal_assets.ports import Services
from selfheal_assets.sensors.rollout_runs import runs
from selfheal_assets.stages.champion import champion
from selfheal_assets.stages.jobs import AssetJob
from selfheal_assets.stages.rollout_batches import batch_look
from selfheal_assets.stages.rollout_course import A_PERSON
from selfheal_assets.stages.rollout_look import counts, labelled_rows
from selfheal_assets.stages.rollout_records import newest_rollout, transitions_of, write
from selfheal_assets.stages.situation import serving
from selfheal_assets.stages.succession import is_frozen


@dataclass(frozen=True, kw_only=True)
class _Cursor:
    """How far the labels of a rollout were read. Without it they are read again, and count once all the same."""

    rollout: str
    seen: int


def rollout_sensor(spec: ModelSpec, rollout_job: AssetJob) -> dg.SensorDefinition:
    """The sensor `m_rollout_sensor`."""

    @dg.sensor(
        name=f"{spec.name}_rollout_sensor",
        jobs=[rollout_job],
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Judges the challenger beside the champion on what both did over the same time, moves the rollout on, or "
            "ends it. The servers follow what it writes down; the run that it asks for moves the alias after them."
        ),
    )
    def rollout(context: dg.SensorEvaluationContext, selfheal: dg.ResourceParam[Services]) -> dg.SensorResult:
        standing = newest_rollout(selfheal.ledger, spec)
        if standing is None:
            return dg.SensorResult(skip_reason="no rollout was ever opened")
        words, cursor = list[str](), context.cursor
        if not standing.ended:
            standing, said, cursor = _moved_on(selfheal, spec, standing, cursor)
            words.append(said)
        requests = runs(context, selfheal, spec, standing, words)
        said = f"rollout {standing.id} of version {standing.challenger}: {standing.state}: {'; '.join(words)}"
        context.log.info(said)
        return dg.SensorResult(run_requests=requests, skip_reason=None if requests else said, cursor=cursor)

    return rollout


def _moved_on(selfheal: Services, spec: ModelSpec, standing: Rollout, cursor: str | None) -> tuple[Rollout, str, str]:
    """The rollout after this look, what is to be said of it, and the next cursor."""
    read = _read(selfheal, spec, standing, cursor)
    over = _over_requests if spec.rollout.over == "requests" else _over_batches
    look, seen, said, answering = over(selfheal, spec, standing, read.seen)
    now = selfheal.clock.now()
    following = _orphaned(selfheal, spec, standing, answering, now) or _next(selfheal, spec, standing, look, now)
    if following is not standing and not write(selfheal.ledger, following):
        following = newest_rollout(selfheal.ledger, spec) or standing
    said = f"{following.reason}; {said}, {len(look.loss_differences)} labelled rows"
    return following, said, json.dumps(asdict(replace(read, seen=seen)))


def _over_requests(
    selfheal: Services, spec: ModelSpec, standing: Rollout, since: int
) -> tuple[Look, int, str, frozenset[str]]:
    """The look, the ledger's place up to which labels are in, what was looked at, and who answers at present."""
    servers = selfheal.serving.status(spec.name).servers
    found, said = counts(servers, standing.champion, standing.challenger)
    differences, seen = labelled_rows(selfheal, spec, standing, since)
    # Where a server is silent nothing was counted; time passes, and labels speak.
    look = replace(found if found is not None else standing.began, loss_differences=differences)
    return look, seen, said, answering_versions(servers)


def _over_batches(
    selfheal: Services, spec: ModelSpec, standing: Rollout, since: int
) -> tuple[Look, int, str, frozenset[str]]:
    """The same of the landed batches."""
    look, seen = batch_look(selfheal, spec, standing, since)
    return look, seen, f"{look.challenger.rows} rows of batches", frozenset()


def _read(selfheal: Services, spec: ModelSpec, standing: Rollout, cursor: str | None) -> _Cursor:
    known = _Cursor(**json.loads(cursor)) if cursor else None
    if known is not None and known.rollout == standing.id:
        return known
    opening, _ = transitions_of(selfheal.ledger, spec, standing.id)[0]
    return _Cursor(rollout=standing.id, seen=opening.sequence)


def _next(selfheal: Services, spec: ModelSpec, standing: Rollout, look: Look, now: datetime) -> Rollout:
    """As the core says; but a bake does not end before the alias has moved: the servers would follow the old one."""
    following = advance(standing, spec.rollout, look, now)
    if following.state is RolloutState.PROMOTED and not is_frozen(selfheal, spec, standing.id, standing.challenger):
        return standing
    return following


def _orphaned(
    selfheal: Services, spec: ModelSpec, standing: Rollout, answering: frozenset[str], now: datetime
) -> Rollout | None:
    """Ended, where the alias is on neither of the two. The registry is asked only when something speaks for it: a
    tick that loads MLflow takes seconds."""
    two = {standing.champion, standing.challenger}
    by_ledger, _ = serving(selfheal.ledger, spec)
    if by_ledger in two and (not answering or answering & two):
        return None
    holder = champion(selfheal, spec)
    if holder is not None and holder.version in two:
        return None
    reason = f"the champion's alias was moved to version {holder.version if holder else None} meanwhile"
    return aborted(standing, A_PERSON, reason, now)
