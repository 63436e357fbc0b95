"""The watchdog over a real Dagster instance and ledger: tells once of what lasts, and repairs what cannot do harm."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import cast

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_shared.error import SerializableErrorInfo
from failing_runs import FailingRuns, empty_instance, failing_runs

from selfheal_assets.core.causes import Cause
from selfheal_assets.core.errors import LedgerError
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.sensors import watched_dagster
from selfheal_assets.sensors.watchdog import RUN_IS_DEAD
from selfheal_assets.stages.identity import BACKLOG_TAG, DECISION_TAG, MODEL_TAG

MODEL = {MODEL_TAG: "payments"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return empty_instance(tmp_path_factory.mktemp("instance"))


@pytest.fixture
def loop(template: Path, tmp_path: Path) -> Iterator[FailingRuns]:
    made = failing_runs(template, tmp_path / "home")
    yield made
    made.instance.dispose()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> "Later":
    return Later(monkeypatch)


class Later:
    """Moves the clock that Dagster's own times are compared with; Dagster goes on with the real one."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._by = timedelta()

    def __call__(self, **delta: float) -> None:
        self._by += timedelta(**delta)
        self._patch.setattr(watched_dagster, "wall_clock", lambda: datetime.now(UTC) + self._by)


def notices(loop: FailingRuns) -> list[dict[str, str]]:
    outbox = loop.services.home / "notifications.jsonl"
    return [json.loads(line) for line in outbox.read_text().splitlines()] if outbox.exists() else []


def told(loop: FailingRuns) -> list[tuple[str, str]]:
    return [(notice["title"], notice["severity"]) for notice in notices(loop)]


def look(loop: FailingRuns, times: int = 2) -> str:
    """What the last of so many looks said; two make sure of a finding."""
    for _ in range(times):
        assert loop.tick("watchdog") == [], "the watchdog never heals"
    return loop.said


def run_of(loop: FailingRuns, process: int | None = None, **tags: str) -> str:
    run_id = loop.begun("payments_ingest", {**MODEL, **tags})
    run = loop.instance.get_run_by_id(run_id)
    assert run is not None
    if process is not None:
        said = f"Started process for run (pid: {process})."
        loop.instance.report_engine_event(said, run, EngineEventData.in_process(process))
    return run_id


def status(loop: FailingRuns, run_id: str) -> dg.DagsterRunStatus:
    run = loop.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def dead_process() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


class Ticks:
    """What the daemon writes down of a sensor."""

    def __init__(self, loop: FailingRuns, name: str, place: str = "here") -> None:
        location = InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file="x.py"), location_name=place)
        self._origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
        self._instance, self._name = loop.instance, name

    def state(self, status: InstigatorStatus = InstigatorStatus.DECLARED_IN_CODE) -> "Ticks":
        data = SensorInstigatorData(min_interval=1)
        self._instance.add_instigator_state(InstigatorState(self._origin, InstigatorType.SENSOR, status, data))
        return self

    def tick(self, status: TickStatus = TickStatus.SKIPPED, error: str = "") -> "Ticks":
        self._instance.create_tick(
            TickData(
                instigator_origin_id=self._origin.get_id(),
                instigator_name=self._name,
                instigator_type=InstigatorType.SENSOR,
                status=status,
                timestamp=datetime.now(UTC).timestamp(),
                selector_id=self._origin.get_selector().get_id(),
                error=SerializableErrorInfo(error, [], "KeyError") if error else None,
            )
        )
        return self


class TestSensors:
    def test_one_that_stopped_ticking_is_told_of_once(self, loop: FailingRuns, later: Later) -> None:
        Ticks(loop, "payments_drift_sensor").state().tick()
        Ticks(loop, "payments_arrivals").state().tick(TickStatus.STARTED)
        assert look(loop).startswith("payments_watchdog: nothing to report")
        later(minutes=10)
        assert look(loop, 1) == "payments_watchdog: nothing to report; 2 suspicions for the next look"
        assert told(loop) == [], "after a pause of the daemon everything looks late at first"
        look(loop, 3)
        assert sorted(told(loop)) == [
            ("sensor stopped ticking: payments_arrivals", "failure"),
            ("sensor stopped ticking: payments_drift_sensor", "failure"),
        ]
        assert "has not ticked for 10 minutes" in loop.said

    def test_what_is_well_again_and_then_ill_is_told_of_again(self, loop: FailingRuns, later: Later) -> None:
        sensor = Ticks(loop, "payments_drift_sensor").state().tick()
        later(minutes=10)
        look(loop)
        later(minutes=-10)
        look(loop, 1)
        sensor.tick()
        later(minutes=10)
        look(loop)
        assert len(told(loop)) == 2

    def test_one_that_keeps_failing(self, loop: FailingRuns) -> None:
        sensor = Ticks(loop, "payments_arrivals").state().tick()
        for _ in range(2):
            sensor.tick(TickStatus.FAILURE, error="dagster._core.errors.SensorExecutionError\nKeyError: 'x'")
        look(loop)
        assert told(loop) == []
        sensor.tick(TickStatus.FAILURE, error="KeyError: 'x'").tick(TickStatus.STARTED)
        look(loop)
        assert told(loop) == [("sensor keeps failing: payments_arrivals", "failure")]
        assert "the last 3 ticks of payments_arrivals failed: KeyError: 'x'" in notices(loop)[0]["body"]

    def test_one_that_somebody_switched_off_and_the_one_that_tells(self, loop: FailingRuns) -> None:
        Ticks(loop, "selfheal_notifications").state(InstigatorStatus.STOPPED)
        look(loop)
        assert told(loop) == [("sensor switched off: selfheal_notifications", "warning")]

    def test_other_models_and_sensors_that_never_ran_are_left_alone(self, loop: FailingRuns, later: Later) -> None:
        Ticks(loop, "others_drift_sensor").state().tick()
        Ticks(loop, "payments_labels").state()
        later(days=1)
        assert look(loop).startswith("payments_watchdog: nothing to report; 0 suspicions")

    def test_the_same_sensors_are_met_where_dagster_says_which_location_this_is(self, loop: FailingRuns) -> None:
        """Without reading the states of every other model's."""
        ours = Ticks(loop, "payments_labels").state()
        Ticks(loop, "payments_labels", place="elsewhere").state(InstigatorStatus.STOPPED)
        origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file="x.py"), location_name="here")
        context = cast(
            "dg.SensorEvaluationContext",
            SimpleNamespace(instance=loop.instance, code_location_origin=origin, repository_name="__repository__"),
        )
        watched = [loop._repository.get_sensor_def(name) for name in ("payments_labels", "payments_arrivals")]
        (found,) = watched_dagster.sensor_facts(context, watched, datetime.now(UTC))
        assert (found.name, found.switched_off, found.silent_for) == ("payments_labels", False, None)
        ours.tick()
        (found,) = watched_dagster.sensor_facts(context, watched, datetime.now(UTC))
        assert found.silent_for is not None


class TestRuns:
    def test_one_without_a_process_is_reported_as_failed_and_asked_for_again(
        self, loop: FailingRuns, later: Later
    ) -> None:
        for batch_id in ("b-0", "b-1"):
            loop.ingested(batch_id)
        (run_id,) = loop.tick("drift_sensor")
        run = loop.instance.get_run_by_id(run_id)
        assert run is not None
        process = dead_process()
        loop.instance.report_engine_event(f"Started process for run (pid: {process}).", run)
        loop.instance.add_run_tags(run_id, MODEL)
        assert look(loop).startswith("payments_watchdog: nothing to report"), "it may be about to end"
        later(minutes=2)
        look(loop)
        assert status(loop, run_id) is dg.DagsterRunStatus.FAILURE
        assert told(loop)[-1] == (f"run without a process: {run_id}", "warning")
        assert notices(loop)[-1]["body"].endswith("It is asked for again. It was reported as failed.")
        loop.tick("drift_sensor")
        loop.clock.forward(hours=1)
        assert len(loop.tick("drift_sensor")) == 1
        (failure,) = loop.records(RecordKind.RUN_FAILURE)
        assert (failure.payload["message"], failure.payload["failure"]) == (RUN_IS_DEAD, "transient")
        assert look(loop).startswith("payments_watchdog: nothing to report")

    def test_one_that_lives_is_left_alone_and_told_of_when_it_hangs(self, loop: FailingRuns, later: Later) -> None:
        alive, unknown = run_of(loop, os.getpid()), run_of(loop)
        later(minutes=59)
        assert look(loop).startswith("payments_watchdog: nothing to report")
        later(minutes=2)
        look(loop)
        assert sorted(told(loop)) == sorted((f"run stuck: {run_id}", "failure") for run_id in (alive, unknown))
        assert {status(loop, run_id) for run_id in (alive, unknown)} == {dg.DagsterRunStatus.STARTED}

    def test_one_that_ends_while_the_watchdog_looks_is_not_reported(
        self, loop: FailingRuns, later: Later, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_id = run_of(loop, dead_process())
        later(minutes=2)
        look(loop, 1)
        facts = watched_dagster.run_facts

        def ends_just_now(*arguments: object) -> object:
            found = facts(*arguments)  # type: ignore[arg-type]
            run = loop.instance.get_run_by_id(run_id)
            assert run is not None
            loop.instance.report_run_canceled(run)
            return found

        monkeypatch.setattr(watched_dagster, "run_facts", ends_just_now)
        assert "It has ended by itself" in look(loop, 1)
        assert status(loop, run_id) is dg.DagsterRunStatus.CANCELED

    def test_one_that_nobody_takes_from_the_queue(self, loop: FailingRuns, later: Later) -> None:
        waiting = dg.DagsterRun(job_name="payments_ingest", tags=MODEL, status=dg.DagsterRunStatus.NOT_STARTED)
        run = loop.instance.add_run(waiting)
        later(minutes=31)
        look(loop)
        assert told(loop) == [(f"run waits too long: {run.run_id}", "failure")]

    def test_one_whose_decision_nobody_made(self, loop: FailingRuns, later: Later) -> None:
        run_id = run_of(loop, **{DECISION_TAG: "nobody-made-it"})
        look(loop)
        assert told(loop) == []
        later(minutes=6)
        look(loop)
        assert told(loop) == [(f"run without a decision: {run_id}", "failure")]


def harm(loop: FailingRuns, batch_id: str) -> None:
    loop.ingested(batch_id)
    for signal in (Signal.DRIFT, Signal.PERFORMANCE):
        evidence = Evidence(
            model="payments",
            signal=signal,
            status=Status.RAISED,
            batch_id=batch_id,
            champion_version="1",
            event_time=loop.clock.now(),
            value=0.3,
            threshold=0.2,
            sample_size=1_500,
            reason="raised",
        )
        loop.services.ledger.append(evidence.to_record(loop.clock.now(), loop.services.ledger.head().sequence))


def promoted(loop: FailingRuns) -> None:
    now = loop.clock.now()
    loop.services.ledger.append(
        Record(
            key="outcome:d",
            model="payments",
            kind=RecordKind.OUTCOME,
            subject="d",
            status="PROMOTED",
            event_time=now,
            recorded_at=now,
            payload={"version": "1", "reason": "", "metric": 0.9},
        )
    )


class TestLedger:
    def test_a_decision_that_no_run_follows_and_the_incident_that_stalls(self, loop: FailingRuns) -> None:
        promoted(loop)
        for batch_id in ("b-0", "b-1"):
            harm(loop, batch_id)
        (run_id,) = loop.tick("drift_sensor")
        loop.instance.delete_run(run_id)
        look(loop)
        before = len(told(loop))
        loop.clock.forward(minutes=6)
        look(loop, 3)
        incident = loop.incidents()[Cause.HARMFUL_DRIFT]
        assert told(loop)[before:] == [(f"decision without a run: {loop.last.tags[DECISION_TAG]}", "failure")]
        assert notices(loop)[-1]["incident"] == incident.id
        loop.clock.forward(hours=73)
        look(loop, 3)
        assert told(loop)[before + 1 :] == [(f"incident stalled: {incident.id} HEALING", "failure")]
        assert "harmful_drift has been healing for 3 days" in notices(loop)[-1]["body"]

    def test_batches_that_no_run_takes(self, loop: FailingRuns) -> None:
        loop.registered("b-0")
        loop.clock.forward(minutes=16)
        at_work = run_of(loop)
        assert look(loop).startswith("payments_watchdog: nothing to report")
        loop.end(at_work)
        look(loop, 3)
        assert told(loop) == [("batches that no run takes: backlog", "failure")]

    def test_batches_that_wait_for_their_next_try(self, loop: FailingRuns) -> None:
        loop.registered("b-0")
        loop.clock.forward(minutes=16)
        loop.failed("payments_ingest", {**MODEL, BACKLOG_TAG: "b-0.1"}, ConnectionError("gone"))
        loop.tick("failures")
        assert look(loop).startswith("payments_watchdog: nothing to report")

    def test_a_ledger_that_does_not_answer(self, loop: FailingRuns, monkeypatch: pytest.MonkeyPatch) -> None:
        def silent(*_: object, **__: object) -> None:
            raise LedgerError("The ledger must take and give records; received: database is locked.")

        monkeypatch.setattr(type(loop.services.ledger), "recent_subjects", silent)
        look(loop)
        assert told(loop) == [("ledger does not answer: ledger", "failure")]


def test_a_lost_cursor_tells_once_more_and_no_oftener(loop: FailingRuns, later: Later) -> None:
    Ticks(loop, "payments_drift_sensor").state().tick()
    later(minutes=10)
    look(loop, 3)
    loop._cursors.clear()
    look(loop, 3)
    assert len(told(loop)) == 2


def test_a_look_takes_less_than_a_second(loop: FailingRuns) -> None:
    for number in range(10):
        run_of(loop, os.getpid())
        loop.registered(f"b-{number}")
    look(loop)
    began = perf_counter()
    look(loop, 1)
    assert perf_counter() - began < 1.0
