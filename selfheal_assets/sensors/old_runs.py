"""Remove old finished runs of declared models, with their events and logs, oldest first. Never one still needed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from selfheal_assets.core.retention import EndedRun, Needed, StillNeeded, needed_for
from selfheal_assets.ports import Services
from selfheal_assets.sensors.needed_runs import ended_run, still_needed, undone
from selfheal_assets.sensors.runs import ENDED
from selfheal_assets.stages.identity import MODEL_TAG
from selfheal_assets.stages.situation import EVERY_MODEL

PAGE = 500
AT_ONCE = 20_000
"""Runs that one execution removes at most; what is left is for the next one."""


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What went, or would go."""

    before: datetime
    gone: Counter[str] = field(default_factory=Counter)
    """Runs by job."""
    kept: Counter[Needed] = field(default_factory=Counter)
    """Runs that were looked at, old enough, and stay."""
    run_ids: Sequence[str] = ()
    more: bool = False
    """Whether it ended at the limit."""

    @property
    def words(self) -> str:
        stay = "; ".join(f"{number} stay: {reason}" for reason, number in self.kept.most_common())
        left = "; there are more, for the next time" if self.more else ""
        count = sum(self.gone.values())
        return f"{count} runs that ended before {self.before:%Y-%m-%d %H:%M} UTC{left}{'; ' if stay else ''}{stay}"


def prune_runs(
    instance: dg.DagsterInstance,
    services: Services,
    models: Sequence[str],
    before: datetime,
    *,
    limit: int = AT_ONCE,
    dry_run: bool = False,
) -> Pruned:
    """Of the models' runs that ended before, remove the oldest that nothing needs. Doing it twice removes no more."""
    pruned, chosen = Pruned(before=before), list[tuple[str, str]]()
    for run, job_name, reason in _judged(instance, services, models, before):
        if reason is not None:
            pruned.kept[reason] += 1
            continue
        chosen.append((run.run_id, job_name))
        if len(chosen) > limit:
            break
    going = chosen[:limit]
    for run_id, job_name in going:
        if not dry_run:
            _remove(instance, run_id)
        pruned.gone[job_name] += 1
    ids = tuple(run_id for run_id, _ in going)
    return Pruned(before=before, gone=pruned.gone, kept=pruned.kept, run_ids=ids, more=len(chosen) > limit)


def _judged(
    instance: dg.DagsterInstance, services: Services, models: Sequence[str], before: datetime
) -> Iterator[tuple[EndedRun, str, Needed | None]]:
    """The finished runs of the models, and of retention itself, oldest first, each with why it stays."""
    # A run that is tagged after its end counts from then on.
    wanted = dg.RunsFilter(tags={MODEL_TAG: [*models, EVERY_MODEL]}, statuses=ENDED, updated_before=before)
    known, cursor = dict[str, StillNeeded](), None
    while page := instance.get_run_records(wanted, limit=PAGE, ascending=True, cursor=cursor):
        runs = [ended_run(record.dagster_run) for record in page]
        for model in {run.model for run in runs}:
            own = [run for run in runs if run.model == model]
            needed = known.get(model) or still_needed(instance, services, model)
            known[model] = replace(needed, decisions=undone(services.ledger, model, own))
        for run, record in zip(runs, page, strict=True):
            yield run, record.dagster_run.job_name, needed_for(run, known[run.model])
        cursor = runs[-1].run_id


def _remove(instance: dg.DagsterInstance, run_id: str) -> None:
    """The run itself last but for its empty file: a removal that is cut short is found, and done, by the next."""
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.event_log_storage.delete_events(run_id)
    instance.delete_run(run_id)
    place = getattr(instance.event_log_storage, "path_for_shard", None)
    if place is not None:  # SQLite has a file of events for every run, and leaves it behind, empty.
        for ending in ("", "-wal", "-shm"):
            Path(f"{place(run_id)}{ending}").unlink(missing_ok=True)


def cutoff(now: datetime, days: float) -> datetime:
    """Runs that ended before it are old."""
    return now - timedelta(days=days)
