"""Take a healing apart by Dagster's run and step events: runs in, seconds by what they went to out. Never guesses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

SENSOR, RECORD = "waiting for the sensor", "writing the run down"
QUEUE, START, BETWEEN = "run queue", "starting the run's process", "between steps"


@dataclass(frozen=True, kw_only=True)
class TimedRun:
    """One run's moments, in seconds since 1970."""

    job: str
    created: float
    """By the sensor's tick."""
    requested: float
    """Enqueued: a planned event for each of its assets and checks has been written."""
    launched: float
    """Taken off the queue."""
    steps: Mapping[str, tuple[float, float]]
    """First and last moment by the step's short name, in order."""


def runs_since(instance: dg.DagsterInstance, moment: float) -> list[TimedRun]:
    """Every run that was requested after the moment and began a step, the first requested first."""
    found = []
    for record in instance.get_run_records():
        run, stats = record.dagster_run, instance.get_run_stats(record.dagster_run.run_id)
        created = record.create_timestamp.timestamp()
        requested = stats.enqueued_time or created
        steps = {
            step.step_key.split("__", 1)[-1]: (step.start_time, step.end_time)
            for step in sorted(instance.get_run_step_stats(run.run_id), key=lambda s: s.start_time or 0.0)
            if step.start_time is not None and step.end_time is not None
        }
        if requested >= moment and steps:
            found.append(
                TimedRun(
                    job=run.job_name,
                    created=created,
                    requested=requested,
                    launched=stats.launch_time or requested,
                    steps=steps,
                )
            )
    return sorted(found, key=lambda run: run.requested)


def spent(runs: Sequence[TimedRun], begun: float, ended: float) -> dict[str, float]:
    """Seconds by kind and by step; together exactly those from `begun` to `ended`.

    A moment is counted once: of runs that overlap, the one requested first has it.
    """
    seconds: dict[str, float] = {}
    clock = begun

    def up_to(moment: float, what: str) -> None:
        nonlocal clock
        moment = min(moment, ended)
        if moment > clock:
            seconds[what] = seconds.get(what, 0.0) + moment - clock
            clock = moment

    for run in runs:
        job = run.job.rsplit("_", 1)[-1]
        up_to(run.created, f"{SENSOR} ({job})")
        up_to(run.requested, f"{RECORD} ({job})")
        up_to(run.launched, f"{QUEUE} ({job})")
        up_to(min(first for first, _ in run.steps.values()), f"{START} ({job})")
        for name, (first, last) in run.steps.items():
            up_to(first, BETWEEN)
            up_to(last, name)
    up_to(ended, BETWEEN)
    return seconds
