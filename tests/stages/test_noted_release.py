"""What the servers agree on is noted where they run; while they change, nothing is."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from failing_runs import SPEC
from watched_servers import reading, samples, status

from selfheal_assets.core.errors import ServingError
from selfheal_assets.core.server_reading import Sample, ServerReading
from selfheal_assets.ports import Release
from selfheal_assets.stages.noted_release import INFO, note_release


@dataclass
class Noting:
    """The parts of the services that are asked."""

    noted: list[tuple[str, Release]] = field(default_factory=list)
    away: bool = False

    @property
    def serving(self) -> Any:
        return self

    def released(self, model: str, release: Release) -> None:
        if self.away:
            raise ServingError("The API server must answer; received nothing. Look at it.")
        self.noted.append((model, release))


def server(version: str, alias: str = "champion", value: float = 1.0) -> ServerReading:
    labels = {"model": "payments", "version": version, "alias": alias, "run_id": f"run-{version}"}
    return reading([*samples(ok=1), Sample(name=INFO, labels=labels, value=value)])


def test_what_all_servers_answer_by_is_noted() -> None:
    services: Any = Noting()
    assert note_release(services, SPEC, status(server("3"), server("3"), reading(None))) == ""
    assert services.noted == [("payments", Release(version="3", run_id="run-3"))]


@pytest.mark.parametrize(
    "servers",
    [(), (reading(None),), (server("3"), server("4")), (server("3", "challenger"),), (server("3", value=0.0),)],
    ids=["none", "silent", "changing", "another alias", "gone"],
)
def test_what_is_not_agreed_is_not(servers: tuple[ServerReading, ...]) -> None:
    services: Any = Noting()
    assert note_release(services, SPEC, status(*servers)) == ""
    assert services.noted == []


def test_what_could_not_be_noted_is_said_and_fails_nothing() -> None:
    services: Any = Noting(away=True)
    assert "the release of version 3 is not noted: The API server" in note_release(services, SPEC, status(server("3")))
