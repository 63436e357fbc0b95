"""The asset `m/incident_report` and the job `m_approve`, through the real sensor, instance and job."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import perf_counter

import dagster as dg
import pytest
from brain import Life

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.causes import Cause
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.incident import IncidentState
from selfheal_assets.core.record import RecordKind
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.sensors import incident_reports
from selfheal_assets.wiring import Services

SPEC = load_spec(PROJECT / MODELS / "payments" / "defs.yaml")
KEY = dg.AssetKey(["payments", "incident_report"])
CLEAR, RAISED = Status.CLEAR, Status.RAISED
WELL = {"quality": CLEAR, "drift": CLEAR, "performance": CLEAR}
HARMED = {"quality": CLEAR, "drift": RAISED, "performance": RAISED}


class LifeClock:
    def __init__(self, life: Life) -> None:
        self.life = life

    def now(self) -> object:
        return self.life.now


class Reports(InProcessLoop):
    """A life whose ledger the real sensor ticks over; the runs it asks for begin, and never end."""

    life: Life

    def _execute(self, sensor: str, job_name: str, request: dg.RunRequest) -> str:
        tags = {**request.tags, "dagster/run_key": str(request.run_key), "dagster/sensor_name": sensor}
        started = dg.DagsterRun(job_name=job_name, tags=tags, status=dg.DagsterRunStatus.STARTED)
        return self.instance.add_run(started).run_id

    def tell(self, **statuses: Status) -> None:
        """A batch arrives, and the sensor ticks once."""
        self.life.arrive(**statuses)
        self.tick("drift_sensor")

    def materialized(self) -> list[dg.AssetMaterialization]:
        """Oldest first."""
        found = self.instance.fetch_materializations(KEY, limit=100, ascending=True).records
        return [record.asset_materialization for record in found if record.asset_materialization]

    def states(self) -> list[str]:
        return [str(event.metadata["state"].value) for event in self.materialized()]


@pytest.fixture(scope="module")
def empty_instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("instance")
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        instance.get_runs_count()
    return folder


@pytest.fixture
def build(empty_instance: Path, tmp_path: Path) -> Iterator[Callable[..., Reports]]:
    made: list[Reports] = []

    def make(**policy: object) -> Reports:
        place = tmp_path / str(len(made))
        shutil.copytree(empty_instance, place / "dagster")
        spec = replace(SPEC, policy=replace(SPEC.policy, **policy))  # type: ignore[arg-type]
        life = Life(spec)
        services = Services(place, clock=LifeClock(life))  # type: ignore[arg-type]
        services.ledger.initialise()
        services.ledger.append(*life.ledger.all_after(0, 100))
        life.ledger = services.ledger  # type: ignore[assignment]
        reports = Reports(services, spec, dg.DagsterInstance.local_temp(str(place / "dagster")))
        reports.life = life
        made.append(reports)
        return reports

    yield make
    for reports in made:
        reports.instance.dispose()


def test_every_change_is_a_materialization_and_the_plot_comes_at_the_end(build: Callable[..., Reports]) -> None:
    loop = build()
    for statuses in (WELL, HARMED, HARMED):
        loop.tell(**statuses)
    assert loop.states() == ["OPEN", "HEALING"], "one report a tick"
    incident = loop.life.healing
    healing = loop.materialized()[-1]
    assert healing.metadata["incident"].value == incident.id
    assert healing.metadata["cause"].value == Cause.HARMFUL_DRIFT
    assert "plot" not in healing.metadata
    loop.life.refuse("none fits")
    loop.tick("drift_sensor")
    loop.life.promote("2")
    loop.tick("drift_sensor")
    loop.tell(**WELL)
    assert loop.states()[-2:] == ["VERIFYING", "RESOLVED"]
    ended = loop.materialized()[-1]
    assert str(ended.metadata["plot"].value).startswith("![")
    told = str(ended.metadata["case_file"].value)
    (run,) = loop.instance.get_runs(dg.RunsFilter(tags={"selfheal/decision": incident.tried[0].decision_id}))
    assert f"Dagster run [{run.run_id}](/runs/{run.run_id})" in told
    assert f"# Incident {incident.id}: harmful drift, resolved" in told
    before = len(loop.materialized())
    loop.tick("drift_sensor")
    assert len(loop.materialized()) == before, "nothing changed"


def test_what_a_tick_has_no_time_for_is_reported_by_the_next(
    build: Callable[..., Reports], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = build()
    monkeypatch.setattr(incident_reports, "INCIDENTS_PER_TICK", 1)
    loop.tell(quality=CLEAR, drift=CLEAR, performance=CLEAR)
    loop.life.arrive(quality=RAISED)
    loop.life.arrive(quality=CLEAR, drift=RAISED, performance=CLEAR)
    loop.tick("drift_sensor")
    loop.tick("drift_sensor")
    loop.tick("drift_sensor")
    causes = {str(event.metadata["cause"].value) for event in loop.materialized()}
    assert causes == {str(incident.cause) for incident in loop.life.every()}
    assert len(causes) == 2


def test_a_report_that_cannot_be_made_does_not_hold_up_the_healing(
    build: Callable[..., Reports], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no colours left")

    monkeypatch.setattr(incident_reports, "materialization", broken)
    loop = build()
    for statuses in (WELL, HARMED, HARMED):
        loop.tell(**statuses)
    assert loop.life.state(Cause.HARMFUL_DRIFT) is IncidentState.HEALING
    assert loop.instance.get_runs_count() == 1
    assert loop.materialized() == []


def test_a_tick_that_reports_over_a_long_history_stays_within_a_second(build: Callable[..., Reports]) -> None:
    loop = build()
    for number in range(150):
        loop.life.arrive(quality=CLEAR, drift=CLEAR, performance=CLEAR, prior=CLEAR, release=CLEAR)
        if number == 0:
            loop.tick("drift_sensor")
    loop.life.arrive(**HARMED)
    loop.life.arrive(**HARMED)
    begun = perf_counter()
    loop.tick("drift_sensor")
    assert perf_counter() - begun < 1.0
    assert loop.states() == ["HEALING"]


def approve(loop: Reports, **config: object) -> bool:
    ops = {"payments__approve": {"config": config}}
    return loop.run("approve", run_config={"ops": ops})


def test_a_person_approves_in_the_ui_and_the_run_is_requested(build: Callable[..., Reports]) -> None:
    loop = build(autonomy="recommend")
    for statuses in (WELL, HARMED, HARMED):
        loop.tell(**statuses)
    incident = loop.life.incidents[Cause.HARMFUL_DRIFT]
    assert incident.hold == "approval"
    assert loop.instance.get_runs_count() == 0
    assert "a person must approve it until" in str(loop.materialized()[-1].metadata["case_file"].value)
    assert approve(loop, incident=incident.id, approve=True, reason="looked at it", who="ada")
    (word,) = loop.services.ledger.newest("payments", RecordKind.APPROVAL, limit=9)
    assert (word.status, word.payload["who"], word.payload["reason"]) == ("APPROVED", "ada", "looked at it")
    loop.life.now += timedelta(minutes=1)
    assert len(loop.tick("drift_sensor")) == 1
    assert loop.life.state(Cause.HARMFUL_DRIFT) is IncidentState.HEALING
    assert "approved by ada" in str(loop.materialized()[-1].metadata["case_file"].value)
    assert not approve(loop, incident=incident.id, approve=False), "it does not wait any more"


def test_a_rejection_in_the_ui_names_the_run_where_nobody_is_named(build: Callable[..., Reports]) -> None:
    loop = build(autonomy="recommend")
    for statuses in (WELL, HARMED, HARMED):
        loop.tell(**statuses)
    decision = loop.life.incidents[Cause.HARMFUL_DRIFT].tried[-1].decision_id
    assert approve(loop, incident=decision, approve=False)
    (word,) = loop.services.ledger.newest("payments", RecordKind.APPROVAL, limit=9)
    assert word.status == "REJECTED"
    assert str(word.payload["who"]).startswith("whoever launched Dagster run ")
    loop.tick("drift_sensor")
    assert loop.life.state(Cause.HARMFUL_DRIFT) is IncidentState.ESCALATED
    assert "plot" in loop.materialized()[-1].metadata
