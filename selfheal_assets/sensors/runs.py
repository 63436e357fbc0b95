"""Ask Dagster what became of the runs of a subject. Never launches one."""

from collections.abc import Sequence

import dagster as dg

ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
CRASHED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
MAX_ATTEMPTS = 3
"""A run that crashed this often is given up."""


def active_run(instance: dg.DagsterInstance, job_names: Sequence[str]) -> str | None:
    """The id of a run of one of the jobs that has not ended, or None."""
    for job_name in job_names:
        if found := _first(instance, dg.RunsFilter(job_name=job_name, statuses=ACTIVE)):
            return found
    return None


def active_with_tag(instance: dg.DagsterInstance, tag: str, value: str) -> str | None:
    """The id of a run with the tag that has not ended, or None."""
    return _first(instance, dg.RunsFilter(tags={tag: value}, statuses=ACTIVE))


def runs_with_tag(instance: dg.DagsterInstance, tag: str, value: str) -> int:
    """How many runs were ever launched with the tag."""
    return instance.get_runs_count(dg.RunsFilter(tags={tag: value}))


def crashed_with_tag(instance: dg.DagsterInstance, tag: str, value: str) -> int:
    """How many runs with the tag failed or were ended."""
    return instance.get_runs_count(dg.RunsFilter(tags={tag: value}, statuses=CRASHED))


def _first(instance: dg.DagsterInstance, wanted: dg.RunsFilter) -> str | None:
    found = instance.get_run_records(wanted, limit=1)
    return found[0].dagster_run.run_id if found else None
