"""Sensors against a real ledger, landing folder and Dagster instance: what they ask for, once, and what they say."""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from set_clock import SetClock
from work_done import Counter, Work, counting_steps

from selfheal_assets.adapters.batch_store import FileBatchStore
from selfheal_assets.adapters.sql_ledger import SqlLedger
from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.evidence import UNBOUND, Evidence, Signal, Status
from selfheal_assets.core.failures import LONGEST_DELAY
from selfheal_assets.core.incident import Attempt, Incident, IncidentState, OutcomeStatus, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.policy import Decision, DecisionStatus
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.operations.flags import switch
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.sensors import arrivals
from selfheal_assets.sensors.arrivals import RANGE_END, RANGE_START
from selfheal_assets.sensors.runs import active_run
from selfheal_assets.stages.answer import answer
from selfheal_assets.stages.batch_records import BatchStatus, close_batch, opening, settle
from selfheal_assets.stages.case_file import case_file, incident_ids
from selfheal_assets.stages.heal_decision import close, heal_decision
from selfheal_assets.stages.identity import ATTEMPT_TAG, DECISION_TAG
from selfheal_assets.stages.ingest import raw_batch
from selfheal_assets.wiring import Services

SPEC = load_spec(PROJECT / MODELS / "payments" / "defs.yaml")
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
PARTITION = "dagster/partition"


class Sensors(InProcessLoop):
    """The daemon's part with runs that begin, and end only when a test says how."""

    clock: SetClock

    def __init__(self, services: Services, spec: ModelSpec, instance: dg.DagsterInstance) -> None:
        super().__init__(services, spec, instance)
        self.requests: list[dg.RunRequest] = []
        self.logged: list[str] = []

    def _execute(self, sensor: str, job_name: str, request: dg.RunRequest) -> str:
        self.requests.append(request)
        tags = {**request.tags, "dagster/run_key": str(request.run_key), "dagster/sensor_name": sensor}
        if request.partition_key:
            tags[PARTITION] = request.partition_key
        run = dg.DagsterRun(job_name=job_name, tags=tags, status=dg.DagsterRunStatus.STARTED)
        return self.instance.add_run(run).run_id

    def crash(self, run_id: str) -> None:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        self.instance.report_run_failed(run)

    def next_try(self, sensor: str) -> list[str]:
        """The runs that a tick asks for; else those that it asks for when there is no more reason to wait."""
        launched = self.tick(sensor)
        if not launched:
            self.clock.moment += LONGEST_DELAY
            launched = self.tick(sensor)
        return launched

    @property
    def last(self) -> dg.RunRequest:
        return self.requests[-1]

    @property
    def said(self) -> str:
        return self.logged[-1]

    def asked_for(self) -> list[str]:
        """The batches of the last request, by the partitions between its ends."""
        present = self.instance.get_dynamic_partitions(f"{self.spec.name}_batches")
        first = self.last.partition_key or self.last.tags[RANGE_START]
        end = self.last.partition_key or self.last.tags[RANGE_END]
        return list(present[present.index(first) : present.index(end) + 1])


@pytest.fixture(scope="module")
def empty_instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated Dagster instance without a run, to be copied."""
    folder = tmp_path_factory.mktemp("instance")
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        instance.get_runs_count()
        instance.get_dynamic_partitions("any")
    return folder


@pytest.fixture
def build(empty_instance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sensors]]:
    made: list[Sensors] = []
    logger = logging.Logger("sensors")
    handler = logging.Handler()
    handler.emit = lambda record: made[-1].logged.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    monkeypatch.setattr(dg.SensorEvaluationContext, "log", logger)

    def make(spec: ModelSpec = SPEC) -> Sensors:
        place = tmp_path / str(len(made))
        shutil.copytree(empty_instance, place / "dagster")
        clock = SetClock(BEGINNING)
        services = Services(place, clock=clock)
        services.ledger.initialise()
        sensors = Sensors(services, spec, dg.DagsterInstance.local_temp(str(place / "dagster")))
        sensors.clock = clock
        made.append(sensors)
        return sensors

    yield make
    for sensors in made:
        sensors.instance.dispose()


@pytest.fixture
def sensors(build: Callable[..., Sensors]) -> Sensors:
    return build()


def land(sensors: Sensors, name: str, hour: int, text: str = "") -> str:
    """A one-row CSV whose event is so many hours after the beginning; its batch id."""
    folder = sensors.services.batches.landing(sensors.spec.name)
    folder.mkdir(parents=True, exist_ok=True)
    moment = (BEGINNING + timedelta(hours=hour)).isoformat()
    waiting = folder / ".incoming"
    waiting.write_text(f"payment_id,event_timestamp\n{name}{text},{moment}\n")
    waiting.rename(folder / name)
    return sensors.services.batches.batch_id(folder / name)


def finish(sensors: Sensors, *batch_ids: str) -> None:
    """What an ingest run leaves behind of clean batches, but for their rows."""
    for batch_id in batch_ids:
        settle(sensors.services, sensors.spec, batch_id, BatchStatus.CLEAN, reasons=[], rows_landed=1, rows_clean=1)
        close_batch(sensors.services, sensors.spec, batch_id)


class TestArrivals:
    def test_ticked_twice_asks_once(self, sensors: Sensors) -> None:
        ids = [land(sensors, f"{n}.csv", n) for n in range(3)]
        (run,) = sensors.tick("arrivals")
        assert sensors.asked_for() == ids
        assert "3 new files" in sensors.said
        assert "requested the ingest of 3 batches, try 1" in sensors.said
        assert sensors.tick("arrivals") == []
        assert sensors.said.endswith(f"run {run[:8]} is at work on batches")
        assert len(sensors.services.ledger.open_batches("payments", limit=10)) == 3

    def test_says_that_there_is_nothing(self, sensors: Sensors) -> None:
        assert sensors.tick("arrivals") == []
        assert sensors.said == "0 new files, 0 already known, 0 left for later; no open batch"
        assert sensors.ticks == [f"payments_arrivals: {sensors.said}"]

    def test_a_backlog_drains_many_batches_a_run_in_order_of_event_time(self, sensors: Sensors) -> None:
        """Not by name: the last name has the first events."""
        ids = [land(sensors, f"{100 - hour}.csv", hour) for hour in range(30)]
        (run,) = sensors.tick("arrivals")
        assert sensors.asked_for() == ids[:24]
        finish(sensors, *ids[:24])
        sensors.crash(run)
        sensors.tick("arrivals")
        assert sensors.asked_for() == ids[24:]
        assert sensors.instance.get_dynamic_partitions("payments_batches") == ids

    def test_files_beyond_a_tick_s_budget_come_with_the_next(
        self, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(arrivals, "FILES_PER_TICK", 2)
        ids = [land(sensors, f"{n}.csv", n) for n in range(3)]
        sensors.tick("arrivals")
        assert "2 new files, 0 already known, 1 left for later" in sensors.said
        sensors.tick("arrivals")
        assert "1 new files, 0 already known, 0 left for later" in sensors.said
        assert [r.subject for r in sensors.services.ledger.open_batches("payments", limit=10)] == ids

    def test_files_that_are_still_being_written_are_not_seen(self, sensors: Sensors) -> None:
        folder = sensors.services.batches.landing("payments")
        folder.mkdir(parents=True)
        for name in (".a.csv", "a.csv.tmp"):
            (folder / name).write_text("payment_id\n")
        assert sensors.tick("arrivals") == []
        assert sensors.said.startswith("0 new files")

    def test_a_file_that_cannot_be_opened_does_not_stop_the_others(
        self, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        locked, good = land(sensors, "locked.csv", 0), land(sensors, "open.csv", 1)
        read = FileBatchStore.batch_id

        def refuse(store: FileBatchStore, file: Path) -> str:
            if file.name == "locked.csv":
                raise PermissionError(13, "Permission denied")
            return read(store, file)

        monkeypatch.setattr(FileBatchStore, "batch_id", refuse)
        (run,) = sensors.tick("arrivals")
        assert sensors.asked_for() == [good]
        assert "1 that cannot be opened: 'locked.csv': Permission denied" in sensors.said
        finish(sensors, good)
        sensors.crash(run)
        monkeypatch.undo()
        sensors.tick("arrivals")
        assert sensors.asked_for() == [locked]

    def test_a_crashed_run_is_asked_for_again_then_each_batch_alone_then_given_up(self, sensors: Sensors) -> None:
        good, poison, last = (land(sensors, f"{name}.csv", n) for n, name in enumerate(["good", "poison", "last"]))
        asked = []
        while launched := sensors.next_try("arrivals"):
            asked.append(sensors.asked_for())
            if sensors.asked_for() in ([good], [last]):
                finish(sensors, *sensors.asked_for())
            sensors.crash(launched[0])
            assert len(asked) < 20
        # While the poisonous one waits with its next try, the one behind it goes.
        assert asked == [*3 * [[good, poison, last]], [good], [poison], [last], [poison], [poison]]
        assert len({request.run_key for request in sensors.requests}) == len(sensors.requests)
        ledger, batches = sensors.services.ledger, sensors.services.batches
        settled = ledger.current("payments", RecordKind.BATCH_SETTLED, [good, poison, last])
        assert [settled[b].status for b in (good, poison, last)] == ["CLEAN", "QUARANTINED", "CLEAN"]
        assert "failed 3 times" in settled[poison].payload["reasons"][0]
        kept = list((batches.quarantine("payments", poison) / "original").iterdir())
        assert [path.read_text().splitlines()[0] for path in kept] == ["payment_id,event_timestamp"]
        assert ledger.open_batches("payments", limit=10) == []

    def test_giving_up_takes_back_what_the_crashed_ingest_had_begun(self, sensors: Sensors) -> None:
        """Half an ingest must not be learned from: its clean rows go, the raw ones are in quarantine."""
        poison, batches = land(sensors, "poison.csv", 0), sensors.services.batches
        for _ in range(3):
            (run,) = sensors.next_try("arrivals")
            rows = batches.take("payments", poison, "poison.csv", {}).frame()
            for stage in ("clean", "features"):
                batches.write("payments", stage, poison, rows)
            settle(sensors.services, SPEC, poison, BatchStatus.CLEAN, reasons=[], rows_landed=1, rows_clean=1)
            sensors.crash(run)
        assert sensors.tick("arrivals") == []
        assert "all are in quarantine" in sensors.said
        assert not any(batches.has("payments", stage, poison) for stage in ("clean", "features"))
        kept, _ = batches.read_quarantine("payments", poison)
        assert kept is not None
        assert len(kept) == 1
        settled = sensors.services.ledger.current("payments", RecordKind.BATCH_SETTLED, [poison])[poison]
        assert (settled.status, settled.payload["rows_quarantined"]) == ("QUARANTINED", 1)

    def test_a_file_that_is_replaced_before_its_ingest(self, sensors: Sensors) -> None:
        """The first was withdrawn by its sender; what stands there now is a batch of its own, and stays."""
        first = land(sensors, "daily.csv", 0)
        (run,) = sensors.tick("arrivals")
        second = land(sensors, "daily.csv", 0, text="-corrected")
        assert _ingest_raw(sensors, first)
        record = sensors.services.ledger.newest("payments", RecordKind.BATCH_SETTLED, subject=first)[0]
        assert record.status == "WITHDRAWN"
        sensors.crash(run)
        sensors.tick("arrivals")
        assert sensors.asked_for() == [second]
        assert _ingest_raw(sensors, second)
        assert sensors.services.batches.read("payments", "raw", second)["payment_id"].tolist() == [
            "daily.csv-corrected"
        ]
        assert sensors.services.batches.landed("payments") == []

    def test_a_withdrawn_file_may_come_back(self, sensors: Sensors) -> None:
        batch_id = land(sensors, "daily.csv", 0)
        (run,) = sensors.tick("arrivals")
        (sensors.services.batches.landing("payments") / "daily.csv").unlink()
        assert _ingest_raw(sensors, batch_id)
        sensors.crash(run)
        assert sensors.tick("arrivals") == []
        assert land(sensors, "daily.csv", 0) == batch_id
        sensors.tick("arrivals")
        assert sensors.asked_for() == [batch_id]

    def test_a_copy_of_a_known_batch_is_removed(self, sensors: Sensors) -> None:
        batch_id = land(sensors, "a.csv", 0)
        (run,) = sensors.tick("arrivals")
        assert _ingest_raw(sensors, batch_id)
        finish(sensors, batch_id)
        sensors.crash(run)
        assert land(sensors, "a.csv", 0) == batch_id
        assert sensors.tick("arrivals") == []
        assert sensors.said == "0 new files, 1 already known, 0 left for later; no open batch"
        assert sensors.services.batches.landed("payments") == []

    def test_partitions_beyond_the_limit_are_retired_oldest_first(
        self, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(arrivals, "LIVE_PARTITIONS", 3)
        ids = []
        for hour in range(5):
            ids.append(land(sensors, f"{hour}.csv", hour))
            (run,) = sensors.tick("arrivals")
            assert sensors.asked_for() == ids[-1:]
            finish(sensors, ids[-1])
            sensors.crash(run)
        assert sensors.instance.get_dynamic_partitions("payments_batches") == ids[-3:]

    def test_waits_for_a_release_that_is_at_work(self, sensors: Sensors) -> None:
        land(sensors, "a.csv", 0)
        release = dg.DagsterRun(job_name="payments_release_quarantine", status=dg.DagsterRunStatus.STARTED)
        sensors.instance.add_run(release)
        assert sensors.tick("arrivals") == []
        assert "is at work on batches" in sensors.said


def _ingest_raw(sensors: Sensors, batch_id: str) -> bool:
    """The first asset of an ingest alone."""
    partitions = sensors.instance.get_dynamic_partitions("payments_batches")
    assert batch_id in partitions
    return dg.materialize(
        [raw_batch(SPEC, {})],
        partition_key=batch_id,
        instance=sensors.instance,
        resources={"selfheal": sensors.services},
    ).success


def notices(sensors: Sensors) -> list[str]:
    path = sensors.services.home / "notifications.jsonl"
    return path.read_text().splitlines() if path.exists() else []


class TestQuality:
    def register(self, sensors: Sensors, batch_id: str, status: BatchStatus, **counts: int) -> None:
        sensors.clock.forward(minutes=1)
        sensors.services.ledger.append(_registration(batch_id, sensors.clock.now()))
        settle(sensors.services, SPEC, batch_id, status, reasons=["amount is in cents"], **counts)

    def test_tells_once_of_what_went_to_quarantine(self, sensors: Sensors) -> None:
        self.register(sensors, "good", BatchStatus.CLEAN)
        self.register(sensors, "bad", BatchStatus.QUARANTINED, rows_quarantined=7)
        self.register(sensors, "partly", BatchStatus.PARTIAL, rows_quarantined=2)
        assert sensors.tick("quality_sensor") == []
        assert sensors.said.startswith("3 batches settled since the last look; 2 quarantined in whole or part: bad, pa")
        assert len(notices(sensors)) == 2
        assert sensors.tick("quality_sensor") == []
        assert sensors.said == "0 batches settled since the last look; volume and freshness are not watched"
        assert len(notices(sensors)) == 2
        assert sensors.services.ledger.newest("payments", RecordKind.DECISION, limit=9) == []

    def test_what_went_to_quarantine_is_one_incident_and_nothing_is_trained(self, sensors: Sensors) -> None:
        """The decision is about the incident, not about each batch; a good batch ends it."""
        self.register(sensors, "good", BatchStatus.CLEAN)
        self.register(sensors, "bad", BatchStatus.QUARANTINED, rows_quarantined=7)
        self.register(sensors, "partly", BatchStatus.PARTIAL, rows_quarantined=2)
        assert sensors.tick("drift_sensor") == []
        assert "retrain: a model must not learn from broken data" in sensors.said
        (decided,) = sensors.services.ledger.newest("payments", RecordKind.DECISION, limit=9)
        incident = incidents(sensors)[Cause.BAD_DATA]
        assert (decided.payload["action"], decided.payload["incident"]) == (Action.QUARANTINE, incident.id)
        assert (decided.payload["batch_ids"], incident.batch_ids) == (["bad", "partly"], ("bad", "partly"))
        assert incident.state is IncidentState.VERIFYING
        assert sensors.tick("drift_sensor") == []
        assert len(decisions(sensors)) == 1
        sensors.clock.forward(hours=6)
        self.register(sensors, "good again", BatchStatus.CLEAN)
        sensors.tick("drift_sensor")
        assert incidents(sensors)[Cause.BAD_DATA].state is IncidentState.RESOLVED
        assert len(decisions(sensors)) == 1

    def test_a_lost_cursor_tells_nobody_twice(self, sensors: Sensors) -> None:
        self.register(sensors, "bad", BatchStatus.QUARANTINED)
        sensors.tick("quality_sensor")
        sensors._cursors.clear()
        sensors.tick("quality_sensor")
        assert sensors.said.startswith("1 batches settled")
        assert len(notices(sensors)) == 1


def _registration(batch_id: str, moment: datetime, **payload: Any) -> Record:
    return Record(
        key=f"registered:{batch_id}",
        model="payments",
        kind=RecordKind.BATCH_REGISTERED,
        subject=batch_id,
        status="REGISTERED",
        event_time=moment,
        recorded_at=moment,
        payload={"file_name": f"{batch_id}.csv", "size_bytes": 1, "landed_at": moment.isoformat(), **payload},
    )


def ingested(sensors: Sensors, batch_id: str, labelled_rows: int = 1_500) -> None:
    """A clean batch whose features are published, six hours after the one before."""
    services = sensors.services
    sensors.clock.forward(hours=6)
    services.ledger.append(_registration(batch_id, sensors.clock.now()))
    counts = {"rows_landed": labelled_rows, "rows_clean": labelled_rows, "labelled_rows": labelled_rows}
    settle(services, sensors.spec, batch_id, BatchStatus.CLEAN, reasons=[], **counts)
    services.batches.write("payments", "features", batch_id, pd.DataFrame({"amount": [1.0]}))
    close_batch(services, sensors.spec, batch_id)


def measured(
    sensors: Sensors,
    batch_id: str,
    drift: Status,
    performance: Status,
    psi: float = 0.3,
    version: str = "1",
    **others: Status,
) -> None:
    """A clean batch, with the evidence that its ingest recorded; `others` by the signals' names."""
    ingested(sensors, batch_id)
    for signal, status in {Signal.DRIFT: drift, Signal.PERFORMANCE: performance, **others}.items():
        evidence = Evidence(
            model="payments",
            signal=Signal(signal),
            status=status,
            batch_id=batch_id,
            champion_version=version,
            event_time=sensors.clock.now(),
            value=psi,
            threshold=0.2,
            sample_size=1_500,
            reason=f"{signal} {status}",
        )
        this_try = opening(sensors.services, sensors.spec, batch_id)
        sensors.services.ledger.append(evidence.to_record(sensors.clock.now(), this_try))


def end(
    sensors: Sensors, run_id: str, status: OutcomeStatus, version: str = "1", result: Result = Result.REFUSED
) -> None:
    """What the run of a decision leaves behind."""
    decision_id = sensors.instance.get_run_by_id(run_id).tags[DECISION_TAG]  # type: ignore[union-attr]
    said: dict[str, Any] = {"result": result} if status is OutcomeStatus.REFUSED else {"metric": 0.9}
    close(sensors.services, sensors.spec, decision_id, status, version=version, reason="by the test", **said)
    sensors.crash(run_id)


def incidents(sensors: Sensors) -> dict[Cause, Incident]:
    """The last incident of each cause, put together from the ledger as people see it."""
    ledger, spec = sensors.services.ledger, sensors.spec
    cases = [case_file(ledger, spec, incident) for incident in incident_ids(ledger, spec, limit=1_000)]
    return {case.incident.cause: case.incident for case in cases if case is not None}


def tried(sensors: Sensors, cause: Cause) -> list[tuple[Action, Result]]:
    return [(attempt.action, attempt.result) for attempt in incidents(sensors)[cause].tried]


def switched(sensors: Sensors, action: str, *, on: bool) -> None:
    """As `selfheal flags` does."""
    ledger, now = sensors.services.ledger, sensors.clock.now()
    assert switch(ledger, ["payments"], "payments", action, on=on, who="ada", reason="by the test", now=now)


def decisions(sensors: Sensors) -> list[tuple[str, str, str]]:
    """Cause, action and status, oldest first."""
    found = sensors.services.ledger.newest("payments", RecordKind.DECISION, limit=50)
    return [(d.payload["cause"], d.payload["action"], d.status) for d in reversed(found)]


def with_champion(sensors: Sensors) -> Sensors:
    """Two clean batches, and the first champion promoted from them."""
    for batch_id in ("b-0", "b-1"):
        ingested(sensors, batch_id)
    (run,) = sensors.tick("drift_sensor")
    end(sensors, run, OutcomeStatus.PROMOTED)
    return sensors


RAISED, CLEAR, UNKNOWN = Status.RAISED, Status.CLEAR, Status.UNKNOWN


class TestDrift:
    def test_the_first_model_is_asked_for_once_when_there_is_enough(self, sensors: Sensors) -> None:
        ingested(sensors, "b-0")
        assert sensors.tick("drift_sensor") == []
        assert sensors.said.startswith(
            "no champion yet; 1 clean batches with 1500 labelled rows, of 2 batches and 2000 rows"
        )
        ingested(sensors, "b-1")
        (run,) = sensors.tick("drift_sensor")
        assert "no_champion -> retrain" in sensors.said
        decision = sensors.services.ledger.newest("payments", RecordKind.DECISION)[0]
        assert sensors.last.run_key == decision.subject == sensors.last.tags[DECISION_TAG]
        assert decision.payload["training_batches"] == ["b-0", "b-1"]
        assert sensors.tick("drift_sensor") == []
        assert sensors.ticks[-1].endswith(f"decision {decision.subject}: run {run[:8]} is at work")
        assert incidents(sensors) == {}, "the first model is learned without an incident"
        assert notices(sensors) == []

    def test_batches_without_labels_do_not_make_a_first_model(self, sensors: Sensors) -> None:
        for number in range(4):
            ingested(sensors, f"b-{number}", labelled_rows=100)
        assert sensors.tick("drift_sensor") == []
        assert "with 400 labelled rows" in sensors.said

    def test_a_crashed_retraining_is_asked_for_again_and_given_up_after_three(self, sensors: Sensors) -> None:
        for batch_id in ("b-0", "b-1"):
            ingested(sensors, batch_id)
        for attempt in (1, 2, 3):
            (run,) = sensors.next_try("drift_sensor")
            decision = sensors.last.tags[DECISION_TAG]
            assert sensors.last.tags[ATTEMPT_TAG] == str(attempt)
            assert sensors.last.run_key == (decision if attempt == 1 else f"{decision}-{attempt}")
            sensors.crash(run)
            assert sensors.tick("drift_sensor") == []
            assert (f"try {attempt + 1} not before 2026" in sensors.said) == (attempt < 3)
        assert f"decision {decision} is given up: its run failed 3 times" in sensors.ticks[-1]
        (outcome,) = sensors.services.ledger.newest("payments", RecordKind.OUTCOME, limit=5)
        assert (outcome.subject, outcome.status) == (decision, OutcomeStatus.FAILED)
        assert "retrain failed" in notices(sensors)[-1]
        assert sensors.tick("drift_sensor") == []
        assert "retrain: no new clean batch has come since the last retraining" in sensors.said
        ingested(sensors, "b-2")
        (run,) = sensors.tick("drift_sensor")
        assert sensors.last.tags[DECISION_TAG] != decision

    def test_a_run_that_a_person_launched_is_waited_for(self, sensors: Sensors) -> None:
        @dg.asset
        def by_hand(context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]) -> None:
            heal_decision(context, selfheal, SPEC)
            assert sensors.tick("drift_sensor") == []

        ingested(sensors, "b-0")
        result = dg.materialize([by_hand], instance=sensors.instance, resources={"selfheal": sensors.services})
        assert result.success
        assert sensors.ticks[-1].endswith(f"run {result.run_id[:8]} is at work")
        assert len(sensors.next_try("drift_sensor")) == 1
        assert sensors.last.tags[ATTEMPT_TAG] == "2", "the person's run ended without an outcome"

    def test_a_lost_cursor_finds_what_is_unfinished(self, sensors: Sensors) -> None:
        with_champion(sensors)
        for batch_id in ("b-2", "b-3"):
            measured(sensors, batch_id, RAISED, RAISED)
        (run,) = sensors.tick("drift_sensor")
        sensors.crash(run)
        sensors.services.ledger.append(*history(300))
        sensors._cursors.clear()
        assert len(sensors.next_try("drift_sensor")) == 1
        assert sensors.last.tags[ATTEMPT_TAG] == "2"

    def test_no_evidence_is_no_harm(self, sensors: Sensors) -> None:
        with_champion(sensors)
        assert sensors.tick("drift_sensor") == []
        assert sensors.said == "unknown: drift not measured; performance not measured"
        assert incidents(sensors) == {}

    def test_harm_that_persists_is_retrained_for_once_and_verified(self, sensors: Sensors) -> None:
        with_champion(sensors)
        measured(sensors, "b-2", RAISED, RAISED)
        assert sensors.tick("drift_sensor") == []
        assert "no rule explains it yet" in sensors.said
        assert incidents(sensors)[Cause.UNKNOWN].state is IncidentState.OPEN
        measured(sensors, "b-3", RAISED, RAISED)
        (run,) = sensors.tick("drift_sensor")
        assert "harmful_drift -> retrain (decided): the inputs moved, and the champion does worse" in sensors.said
        assert "reinstate: no other version has served before" in sensors.said
        assert set(incidents(sensors)) == {Cause.HARMFUL_DRIFT}, "what had no name is the same incident"
        assert incidents(sensors)[Cause.HARMFUL_DRIFT].batch_ids == ("b-2", "b-3")
        assert sensors.tick("drift_sensor") == []
        end(sensors, run, OutcomeStatus.PROMOTED, version="2")
        assert sensors.tick("drift_sensor") == []
        assert incidents(sensors)[Cause.HARMFUL_DRIFT].state is IncidentState.VERIFYING
        assert decisions(sensors)[-1] == (Cause.HARMFUL_DRIFT, Action.RETRAIN, DecisionStatus.DECIDED)
        measured(sensors, "b-4", CLEAR, CLEAR, version="2")
        assert sensors.tick("drift_sensor") == []
        assert incidents(sensors)[Cause.HARMFUL_DRIFT].state is IncidentState.RESOLVED
        assert tried(sensors, Cause.HARMFUL_DRIFT) == [(Action.RETRAIN, Result.VERIFIED)]
        assert len(sensors.requests) == 2

    def test_a_version_that_served_before_is_tried_first_and_none_fits(self, sensors: Sensors) -> None:
        """No failure: retraining follows at once, in spite of the cooldown."""
        with_champion(sensors)
        for batch_id in ("b-2", "b-3"):
            measured(sensors, batch_id, RAISED, RAISED)
        (run,) = sensors.tick("drift_sensor")
        end(sensors, run, OutcomeStatus.PROMOTED, version="2")
        assert sensors.tick("drift_sensor") == []
        measured(sensors, "b-4", CLEAR, CLEAR, version="2")
        assert sensors.tick("drift_sensor") == []
        for batch_id in ("b-5", "b-6"):
            measured(sensors, batch_id, RAISED, RAISED, version="2")
        (run,) = sensors.tick("drift_sensor")
        assert "harmful_drift -> reinstate (decided)" in sensors.said
        assert "retrain: only if reinstate does not help" in sensors.said
        assert sensors.last.job_name == "payments_retrain"
        end(sensors, run, OutcomeStatus.REFUSED, result=Result.NONE_FITS)
        (run,) = sensors.tick("drift_sensor")
        assert "harmful_drift -> retrain (decided)" in sensors.said
        assert "reinstate: none fits" in sensors.said
        assert tried(sensors, Cause.HARMFUL_DRIFT) == [
            (Action.REINSTATE, Result.NONE_FITS),
            (Action.RETRAIN, Result.UNDER_WAY),
        ]
        end(sensors, run, OutcomeStatus.PROMOTED, version="3")
        measured(sensors, "b-7", CLEAR, CLEAR, version="3")
        sensors.tick("drift_sensor")
        sensors.tick("drift_sensor")
        assert tried(sensors, Cause.HARMFUL_DRIFT)[-1] == (Action.RETRAIN, Result.VERIFIED)

    def test_a_refused_candidate_waits_for_new_data_then_for_the_cooldown_and_then_for_a_person(
        self, sensors: Sensors
    ) -> None:
        with_champion(sensors)
        for batch_id in ("b-2", "b-3"):
            measured(sensors, batch_id, RAISED, RAISED)
        (run,) = sensors.tick("drift_sensor")
        end(sensors, run, OutcomeStatus.REFUSED)
        before = len(sensors.requests)
        assert sensors.tick("drift_sensor") == []
        assert "retrain: no new clean batch has come since the last retraining" in sensors.said
        assert incidents(sensors)[Cause.HARMFUL_DRIFT].state is IncidentState.SUPPRESSED
        sensors.clock.moment -= timedelta(hours=6)
        measured(sensors, "b-4", RAISED, RAISED)
        sensors.clock.forward(minutes=10)
        assert sensors.tick("drift_sensor") == []
        assert "cooldown of 30 minutes until" in sensors.said
        assert decisions(sensors)[-1][2] == DecisionStatus.SUPPRESSED
        recorded = len(decisions(sensors))
        assert sensors.tick("drift_sensor") == []
        assert len(decisions(sensors)) == recorded
        sensors.clock.forward(minutes=21)
        (run,) = sensors.tick("drift_sensor")
        end(sensors, run, OutcomeStatus.REFUSED)
        told = len(notices(sensors))
        assert sensors.tick("drift_sensor") == []
        assert "every alternative was tried, the last 2 times" in sensors.said
        assert incidents(sensors)[Cause.HARMFUL_DRIFT].state is IncidentState.ESCALATED
        assert "harmful drift: escalated" in "".join(notices(sensors)[told:])
        sensors.clock.forward(days=3)
        measured(sensors, "b-5", RAISED, RAISED)
        assert sensors.tick("drift_sensor") == []
        assert incidents(sensors)[Cause.HARMFUL_DRIFT].state is IncidentState.ESCALATED
        assert len(sensors.requests) == before + 1

    def test_a_bad_release_asks_for_a_rollback(self, sensors: Sensors) -> None:
        with_champion(sensors)
        measured(sensors, "b-2", CLEAR, RAISED, release=RAISED)
        (run,) = sensors.tick("drift_sensor")
        assert "bad_release -> rollback (decided)" in sensors.said
        assert sensors.last.job_name == "payments_rollback"
        assert sensors.last.tags[DECISION_TAG] == sensors.last.run_key
        (reason,) = (op["config"]["reason"] for op in sensors.last.run_config["ops"].values())
        assert "soon after its promotion" in reason
        assert sensors.tick("drift_sensor") == []
        end(sensors, run, OutcomeStatus.ROLLED_BACK, version="0")
        assert sensors.tick("drift_sensor") == []
        assert incidents(sensors)[Cause.BAD_RELEASE].state is IncidentState.VERIFYING
        measured(sensors, "b-3", CLEAR, CLEAR, version="0")
        assert sensors.tick("drift_sensor") == []
        assert incidents(sensors)[Cause.BAD_RELEASE].state is IncidentState.RESOLVED
        assert tried(sensors, Cause.BAD_RELEASE) == [(Action.ROLLBACK, Result.VERIFIED)]

    def test_the_daily_budget_holds(self, build: Callable[..., Sensors]) -> None:
        spec = replace(SPEC, policy=replace(SPEC.policy, heals_per_day=1, cooldown_minutes=0.0))
        sensors = with_champion(build(spec))
        for batch_id in ("b-2", "b-3"):
            measured(sensors, batch_id, RAISED, RAISED)
        (run,) = sensors.tick("drift_sensor")
        end(sensors, run, OutcomeStatus.REFUSED)
        measured(sensors, "b-4", RAISED, RAISED)
        assert sensors.tick("drift_sensor") == []
        assert "budget of 1 heals a day is spent" in sensors.said
        sensors.clock.forward(days=1)
        assert len(sensors.tick("drift_sensor")) == 1

    def test_benign_drift_is_watched(self, sensors: Sensors) -> None:
        with_champion(sensors)
        for batch_id in ("b-2", "b-3"):
            measured(sensors, batch_id, RAISED, CLEAR, psi=2.0)
        assert sensors.tick("drift_sensor") == []
        assert "benign_drift -> nothing" in sensors.said
        assert "the champion still performs on the moved data" in sensors.said
        assert decisions(sensors)[-1] == (Cause.BENIGN_DRIFT, Action.NOTHING, DecisionStatus.DECIDED)
        recorded = len(decisions(sensors))
        assert sensors.tick("drift_sensor") == []
        assert len(decisions(sensors)) == recorded
        assert incidents(sensors)[Cause.BENIGN_DRIFT].state is IncidentState.VERIFYING

    @pytest.mark.parametrize(("psi", "runs"), [(0.3, 0), (0.9, 1)], ids=["weak", "strong"])
    def test_without_labels_only_strong_drift_is_acted_on(self, sensors: Sensors, psi: float, runs: int) -> None:
        with_champion(sensors)
        for batch_id in ("b-2", "b-3"):
            measured(sensors, batch_id, RAISED, UNKNOWN, psi=psi)
        assert len(sensors.tick("drift_sensor")) == runs

    def test_evidence_against_a_former_champion_does_not_count(self, sensors: Sensors) -> None:
        with_champion(sensors)
        for batch_id in ("b-2", "b-3"):
            measured(sensors, batch_id, RAISED, RAISED, version="0")
        assert sensors.tick("drift_sensor") == []

    def test_observe_records_and_does_nothing(self, build: Callable[..., Sensors]) -> None:
        sensors = build(replace(SPEC, policy=replace(SPEC.policy, autonomy="observe")))
        for batch_id in ("b-0", "b-1"):
            ingested(sensors, batch_id)
        assert sensors.tick("drift_sensor") == []
        assert "no_champion -> retrain (suppressed)" in sensors.said
        assert "autonomy is 'observe'" in sensors.said
        assert decisions(sensors) == [("no_champion", Action.RETRAIN, DecisionStatus.SUPPRESSED)]
        assert sensors.tick("drift_sensor") == []
        assert len(decisions(sensors)) == 1

    def test_a_recommended_heal_waits_for_a_person(self, build: Callable[..., Sensors]) -> None:
        sensors = with_champion(build(replace(SPEC, policy=replace(SPEC.policy, autonomy="recommend"))))
        for batch_id in ("b-2", "b-3"):
            measured(sensors, batch_id, RAISED, RAISED)
        assert sensors.tick("drift_sensor") == []
        assert "harmful_drift -> retrain (awaiting)" in sensors.said
        incident = incidents(sensors)[Cause.HARMFUL_DRIFT]
        assert (incident.state, incident.hold) == (IncidentState.SUPPRESSED, "approval")
        assert sensors.tick("drift_sensor") == []
        ledger, now = sensors.services.ledger, sensors.clock.now()
        answer(ledger, sensors.spec, incident.id, approve=True, who="ada", reason="go on", now=now)
        (run,) = sensors.tick("drift_sensor")
        assert sensors.last.tags[DECISION_TAG] == incident.tried[-1].decision_id
        assert incidents(sensors)[Cause.HARMFUL_DRIFT].state is IncidentState.HEALING
        assert sensors.tick("drift_sensor") == []
        end(sensors, run, OutcomeStatus.PROMOTED, version="2")
        assert sensors.tick("drift_sensor") == []

    def test_a_flag_holds_back_what_is_due_until_it_is_switched_on(self, sensors: Sensors) -> None:
        with_champion(sensors)
        switched(sensors, "retrain", on=False)
        for batch_id in ("b-2", "b-3"):
            measured(sensors, batch_id, RAISED, RAISED)
        assert sensors.tick("drift_sensor") == []
        assert "retrain: retrain is switched off; see `selfheal flags`" in sensors.said
        assert incidents(sensors)[Cause.HARMFUL_DRIFT].hold == "flag"
        assert sensors.tick("drift_sensor") == []
        switched(sensors, "retrain", on=True)
        assert len(sensors.tick("drift_sensor")) == 1
        assert incidents(sensors)[Cause.HARMFUL_DRIFT].state is IncidentState.HEALING


class Killed(BaseException):
    """What a process cannot catch."""


def always_killed(ledger: SqlLedger, deaths: set[tuple[str, ...]]) -> Callable[..., int]:
    """An `append` that dies before it writes each of the core's steps, and when it is asked again after it did."""
    append = ledger.append

    def deadly(*records: Record) -> int:
        step = tuple(record.key for record in records if record.kind in (RecordKind.INCIDENT, RecordKind.DECISION))
        for moment in ("before", "after"):
            stored = append(*records) if moment == "after" else 0
            if step and (moment, *step) not in deaths:
                deaths.add((moment, *step))
                raise Killed(step)
        return stored

    return deadly


def until_rest(sensors: Sensors) -> None:
    """Ticks until one changes nothing; a killed process is started again, without what it had in mind."""
    place, still = -1, False
    while not still:
        try:
            asked = sensors.tick("drift_sensor")
        except Killed:
            sensors._cursors.clear()
            continue
        head = sensors.services.ledger.head().sequence
        still, place = head == place and not asked, head


def troubled_life(sensors: Sensors) -> list[tuple[str, str, dict[str, Any]]]:
    """Every state that an incident may be in; what the ledger has of it."""
    ends = iter(
        [
            (OutcomeStatus.PROMOTED, "1", Result.REFUSED),
            (OutcomeStatus.PROMOTED, "2", Result.REFUSED),
            (OutcomeStatus.ROLLED_BACK, "1", Result.REFUSED),
            (OutcomeStatus.REFUSED, "2", Result.NONE_FITS),
            (OutcomeStatus.REFUSED, "3", Result.REFUSED),
            (OutcomeStatus.REFUSED, "4", Result.REFUSED),
        ]
    )

    def on() -> None:
        until_rest(sensors)
        while run := active_run(sensors.instance, ["payments_retrain", "payments_rollback"]):
            status, version, result = next(ends)
            end(sensors, run, status, version, result)
            until_rest(sensors)

    for batch_id in ("b-0", "b-1"):
        ingested(sensors, batch_id)
    on()
    switched(sensors, "retrain", on=False)
    for batch_id in ("b-2", "b-3"):
        measured(sensors, batch_id, RAISED, RAISED)
        on()
    switched(sensors, "retrain", on=True)
    on()
    measured(sensors, "b-4", CLEAR, RAISED, version="2", release=RAISED)
    on()
    for batch_id in ("b-5", "b-6", "b-7"):
        measured(sensors, batch_id, RAISED, RAISED)
        on()
    assert next(ends, None) is None
    ledger = sensors.services.ledger
    kinds = (RecordKind.INCIDENT, RecordKind.DECISION, RecordKind.OUTCOME)
    records = sorted((r for k in kinds for r in ledger.after("payments", k, 0, 1_000)), key=lambda r: r.sequence)
    return [(record.key, record.status, dict(record.payload)) for record in records]


def test_killed_around_every_transition_it_ends_as_if_nothing_had_happened(
    build: Callable[..., Sensors], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(SPEC, policy=replace(SPEC.policy, cooldown_minutes=0.0, max_change_failure_share=0.99))
    calm = troubled_life(build(spec))
    killed = build(spec)
    deaths = set[tuple[str, ...]]()
    monkeypatch.setattr(killed.services.ledger, "append", always_killed(killed.services.ledger, deaths))
    assert troubled_life(killed) == calm
    written = {key for key, *_ in calm if not key.startswith("outcome:")}
    assert {key for _, *step in deaths for key in step} == written, "not every step was died around"
    assert len([moment for moment, *_ in deaths if moment == "after"]) == len(deaths) / 2
    assert {status for key, status, _ in calm if key.startswith("incident:")} == set(IncidentState)


def history(count: int) -> list[Record]:
    """The records of so many ingested batches: measured, closed; one in ten partly bad, with its incident."""
    found = []
    for number in range(count):
        moment, batch_id = BEGINNING + timedelta(hours=number), f"b-{number}"
        bad = number % 10 == 9
        stem = _registration(batch_id, moment)
        counts = {"rows_landed": 9, "rows_clean": 9, "rows_quarantined": 0, "labelled_rows": 9, "reasons": []}
        kinds: Sequence[tuple[RecordKind, str, dict[str, Any]]] = (
            (RecordKind.BATCH_SETTLED, "PARTIAL" if bad else "CLEAN", counts),
            (RecordKind.BATCH_CLOSED, "CLOSED", {}),
        )
        found.append(stem)
        found += [replace(stem, key=f"{k}:{batch_id}", kind=k, status=s, payload=p) for k, s, p in kinds]
        for signal in Signal:
            evidence = Evidence(
                model="payments",
                signal=signal,
                status=RAISED if bad and signal is Signal.QUALITY else CLEAR,
                batch_id=batch_id,
                champion_version=None if signal in UNBOUND else "1",
                event_time=moment,
                value=0.1,
                threshold=0.2,
                sample_size=9,
                reason="clear",
            )
            found.append(evidence.to_record(moment, number))
        if bad:
            found += _bad_data(batch_id, moment)
    return found


def _bad_data(batch_id: str, moment: datetime) -> list[Record]:
    """An incident as the core writes it down: opened, decided, over."""
    opened = Incident(
        id=f"i-{batch_id}",
        model="payments",
        cause=Cause.BAD_DATA,
        state=IncidentState.OPEN,
        reason="rows broke checks",
        opened_at=moment,
        batch_ids=(batch_id,),
        champion_version="1",
        newest_event=moment,
    )
    diagnosed = opened.to(IncidentState.DIAGNOSED, "rows broke checks")
    attempt = Attempt(action=Action.QUARANTINE, decision_id=f"d-{batch_id}", decided_at=moment, result=Result.VERIFIED)
    verifying = diagnosed.to(IncidentState.VERIFYING, "quarantine", tried=(attempt,))
    decision = Decision(
        model="payments",
        incident=opened.id,
        cause=Cause.BAD_DATA,
        action=Action.QUARANTINE,
        status=DecisionStatus.DECIDED,
        champion_version="1",
        attempt=1,
        reason="rows broke checks",
        batch_ids=(batch_id,),
    )
    states = [opened, diagnosed, verifying, verifying.to(IncidentState.RESOLVED, "its signals are clear again")]
    return [*(state.to_record(moment) for state in states), decision.to_record(moment)]


def test_a_tick_costs_the_same_with_2000_batches_of_history(build: Callable[..., Sensors]) -> None:
    """Dagster reads the names of the live partitions where it is asked for any; nothing else grows with the history.

    Of those that look at the history for the first time, each reads a page of it.
    """
    live = 2_000
    with counting_steps() as counter:
        few, many = build(), build()
        give_history(few, 10)
        give_history(many, live)
        for name in ("arrivals", "labels", "quality_sensor", "drift_sensor"):
            usual = []
            for sensors in (few, many):
                first = [worked(counter, sensors, name) for _ in range(12)]
                assert all(work.calls < 500_000 and work.steps < 200_000 for work in first), name
                sensors._cursors["payments_drift_sensor"] = str(sensors.services.ledger.head().sequence)
                usual.append(worked(counter, sensors, name))
            assert usual[1].calls < 1.5 * usual[0].calls, name
            assert usual[1].steps < usual[0].steps + 50 * live, name


def give_history(sensors: Sensors, count: int) -> None:
    promoted = replace(_registration("d-0", BEGINNING), key="outcome:d-0", kind=RecordKind.OUTCOME)
    promoted = replace(promoted, subject="d-0", status="PROMOTED", payload={"version": "1", "reason": ""})
    sensors.services.ledger.append(*history(count), promoted)
    sensors.instance.add_dynamic_partitions("payments_batches", [f"b-{n}" for n in range(count)])
    for number in range(max(0, count - 200), count):
        file = sensors.services.batches.path("payments", "features", f"b-{number}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def worked(counter: Counter, sensors: Sensors, name: str) -> Work:
    with counter.measured() as work:
        assert sensors.tick(name) == []
    return work
