"""Ask the home's Dagster instance for the runs of decisions: ids or counts out. Never launches one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from selfheal_assets.core.errors import HomeError
from selfheal_assets.stages.identity import DECISION_TAG
from selfheal_assets.wiring import Services

if TYPE_CHECKING:
    import dagster as dg

    from selfheal_assets.stages.case_file import CaseFile
    from selfheal_assets.stages.case_markdown import Runs


def runs_of_case(services: Services, case: "CaseFile") -> "Runs":
    """The ids of the runs of everything that was tried about the incident."""
    from selfheal_assets.sensors.incident_reports import runs_of

    with home_instance(services) as instance:
        return runs_of(instance, case)


@contextmanager
def run_counter(services: Services) -> Iterator[Callable[[str], int]]:
    """A function from a decision's id to the number of its runs."""
    from selfheal_assets.sensors.runs import runs_with_tag

    with home_instance(services) as instance:
        yield lambda decision: runs_with_tag(instance, DECISION_TAG, decision)


@contextmanager
def home_instance(services: Services) -> "Iterator[dg.DagsterInstance]":
    """The instance that runs the home's models. Raises HomeError where there is none."""
    from dagster import DagsterInstance

    folder = services.settings.dagster_folder
    if not (folder / "dagster.yaml").is_file():
        raise HomeError(
            f"Runs are looked up in the home's Dagster instance; received {folder}, which holds none. "
            "Run `selfheal init`, or set SELFHEAL_HOME, or SELFHEAL_DAGSTER_HOME, to the one that is meant."
        )
    with DagsterInstance.from_config(str(folder)) as instance:
        yield instance
