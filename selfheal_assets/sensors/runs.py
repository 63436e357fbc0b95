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
NAMED_RUNS = 10
ENDED = [*CRASHED, dg.DagsterRunStatus.SUCCESS]


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


def run_ids(instance: dg.DagsterInstance, tag: str, value: str) -> list[str]:
    """The runs that were launched with the tag, oldest first; of very many the newest ten."""
    found = instance.get_run_records(dg.RunsFilter(tags={tag: value}), limit=NAMED_RUNS)
    return [record.dagster_run.run_id for record in reversed(found)]


def _first(instance: dg.DagsterInstance, wanted: dg.RunsFilter) -> str | None:
    found = instance.get_run_records(wanted, limit=1)
    return found[0].dagster_run.run_id if found else None
