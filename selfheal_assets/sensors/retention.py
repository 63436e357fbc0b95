"""Retention: a daily schedule and its job, which removes old finished runs of Dagster's. Never touches the ledger."""

from collections.abc import Callable, Sequence

import dagster as dg

from selfheal_assets.ports import Services
from selfheal_assets.sensors import watched_dagster
from selfheal_assets.sensors.old_runs import AT_ONCE, cutoff, prune_runs
from selfheal_assets.stages.identity import MODEL_TAG
from selfheal_assets.stages.situation import EVERY_MODEL

NAME = "selfheal_retention"
DAILY = "30 3 * * *"
IDS_SHOWN = 100


class Retention(dg.Config):
    """How much, and whether at all."""

    days: float | None = None
    """Runs that ended so many days ago are old; by default as SELFHEAL_KEEP_RUNS_DAYS says."""
    limit: int = AT_ONCE
    """Runs that are removed at most."""
    dry_run: bool = False
    """Only say what would go."""


def retention_job(models: Callable[[], Sequence[str]], keep_days: float) -> dg.JobDefinition:
    """The job `selfheal_retention`; `models` is asked for their names when it runs."""

    @dg.op(name=f"{NAME}__old_runs", description="Remove old finished runs, with their events and logs.")
    def old_runs(context: dg.OpExecutionContext, config: Retention, selfheal: dg.ResourceParam[Services]) -> None:
        # Dagster's own clock: runs have real times, whatever clock selfheal is given.
        before = cutoff(watched_dagster.wall_clock(), keep_days if config.days is None else config.days)
        done = prune_runs(
            context.instance, selfheal, models(), before, limit=max(0, config.limit), dry_run=config.dry_run
        )
        said = f"{'would remove' if config.dry_run else 'removed'} {done.words}"
        context.log.info(said)
        context.add_output_metadata(
            {
                "said": said,
                "runs_removed": 0 if config.dry_run else done.gone.total(),
                "by_job": dict(done.gone),
                "first_run_ids": list(done.run_ids[:IDS_SHOWN]),
                "kept": {str(reason): number for reason, number in done.kept.items()},
            }
        )

    @dg.job(
        name=NAME,
        tags={MODEL_TAG: EVERY_MODEL},
        description="Remove finished runs of all models that are old and that nothing needs. Set `dry_run` to look.",
    )
    def retention() -> None:
        old_runs()

    return retention


def retention_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """The schedule `selfheal_retention`."""
    return dg.ScheduleDefinition(
        name=NAME,
        job=job,
        cron_schedule=DAILY,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night: what Dagster remembers of old runs goes; what the ledger remembers stays.",
    )
