"""The labels sensor against a real store, ledger and Dagster instance: what it asks for, once, and what it says."""

import logging
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

import dagster as dg
import pandas as pd
import pytest
from set_clock import SetClock

from selfheal_assets.adapters.label_store import FileLabelStore
from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.failures import LONGEST_DELAY
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.sensors import labels as labels_module
from selfheal_assets.sensors.labels import LABELS_TAG
from selfheal_assets.stages.batch_records import BatchStatus, close_batch, settle
from selfheal_assets.stages.labels import ALONE_TAG
from selfheal_assets.wiring import Services

SPEC = load_spec(PROJECT / MODELS / "payments" / "defs.yaml")
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class Sensors(InProcessLoop):
    """The daemon's part with runs that begin, and end only when a test says how."""

    requests: list[dg.RunRequest]

    def next_try(self) -> list[str]:
        """The runs that a tick asks for; else those that it asks for when there is no more reason to wait."""
        launched = self.tick("labels")
        if not launched:
            assert isinstance(self.services.clock, SetClock)
            self.services.clock.moment += LONGEST_DELAY
            launched = self.tick("labels")
        return launched

    def _execute(self, sensor: str, job_name: str, request: dg.RunRequest) -> str:
        self.requests.append(request)
        tags = {**request.tags, "dagster/run_key": str(request.run_key), "dagster/sensor_name": sensor}
        run = dg.DagsterRun(job_name=job_name, tags=tags, status=dg.DagsterRunStatus.STARTED)
        return self.instance.add_run(run).run_id

    def ends(self, run_id: str, *, well: bool) -> None:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        if well:
            self.instance.delete_run(run_id)
        else:
            self.instance.report_run_failed(run)

    @property
    def said(self) -> str:
        return self.ticks[-1]

    @property
    def last(self) -> dg.RunRequest:
        return self.requests[-1]


@pytest.fixture(scope="module")
def empty_instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated Dagster instance without a run, to be copied."""
    folder = tmp_path_factory.mktemp("instance")
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        instance.get_runs_count()
        instance.get_dynamic_partitions("any")
    return folder


@pytest.fixture
def sensors(empty_instance: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sensors]:
    monkeypatch.setattr(dg.SensorEvaluationContext, "log", logging.Logger("sensors"))
    shutil.copytree(empty_instance, tmp_path / "dagster")
    services = Services(tmp_path, clock=SetClock(BEGINNING))
    services.ledger.initialise()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        made = Sensors(services, SPEC, instance)
        made.requests = []
        yield made


def land(sensors: Sensors, name: str, *ids: str) -> str:
    """A label file of these event ids; its id."""
    folder = sensors.services.labels.landing("payments")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".incoming").write_text("payment_id,is_fraud\n" + "".join(f"{i},1\n" for i in ids))
    (folder / ".incoming").rename(folder / name)
    return sensors.services.labels.file_id(folder / name)


def taken(sensors: Sensors) -> list[str]:
    """What a join does first."""
    store, now = sensors.services.labels, BEGINNING
    for file in store.landed("payments"):
        file_id = store.claim("payments", file.path)
        assert file_id is not None
        store.take("payments", file_id, SPEC.data, {}, now)
    return store.pending("payments")


def joined(sensors: Sensors, *, wait: bool = True) -> None:
    """What a join leaves behind that found none of the ids, or all."""
    store, done = sensors.services.labels, taken(sensors)
    rows = store.waiting("payments", done)
    settled = sensors.services.ledger.newest("payments", RecordKind.BATCH_SETTLED)
    store.keep_waiting("payments", rows if wait else rows[:0], done, max((r.sequence for r in settled), default=0))


def batch(sensors: Sensors, number: int, *ids: str) -> str:
    """A clean batch of these event ids, registered and settled."""
    batch_id, moment = f"b-{number}", BEGINNING + timedelta(hours=number)
    clean = pd.DataFrame({"payment_id": list(ids)})
    sensors.services.batches.write("payments", "clean", batch_id, clean)
    sensors.services.ledger.append(
        Record(
            key=f"registered:{batch_id}",
            model="payments",
            kind=RecordKind.BATCH_REGISTERED,
            subject=batch_id,
            status="REGISTERED",
            event_time=moment,
            recorded_at=moment,
            payload={"file_name": batch_id, "landed_at": moment.isoformat()},
        )
    )
    settle(sensors.services, SPEC, batch_id, BatchStatus.CLEAN, reasons=[], rows_clean=len(ids))
    close_batch(sensors.services, SPEC, batch_id)
    return batch_id


def notices(sensors: Sensors) -> list[str]:
    path = sensors.services.home / "notifications.jsonl"
    return path.read_text().splitlines() if path.exists() else []


class TestFiles:
    def test_ticked_twice_asks_once(self, sensors: Sensors) -> None:
        first, _ = land(sensors, "a.csv", "1"), land(sensors, "b.csv", "2")
        (run,) = sensors.tick("labels")
        assert sensors.last.run_key == f"payments-labels-from-{first}-1"
        assert sensors.tick("labels") == []
        assert sensors.said.endswith(f"run {run[:8]} is at work on labels")
        assert len(sensors.requests) == 1

    def test_says_that_there_is_nothing(self, sensors: Sensors) -> None:
        assert sensors.tick("labels") == []
        assert sensors.said == "payments_labels: 0 label files, 0 already known; no labels wait"

    def test_the_same_request_again_has_the_same_key(self, sensors: Sensors, monkeypatch: pytest.MonkeyPatch) -> None:
        """A daemon that is killed before it launched the run evaluates the tick again."""
        monkeypatch.setattr(Sensors, "_execute", lambda self, _sensor, _job, request: self.requests.append(request))
        land(sensors, "a.csv", "1")
        sensors.tick("labels")
        sensors.tick("labels")
        assert len({request.run_key for request in sensors.requests}) == 1

    def test_files_that_are_still_being_written_are_not_seen(self, sensors: Sensors) -> None:
        land(sensors, "a.csv.tmp", "1")
        (sensors.services.labels.landing("payments") / ".b.csv").write_text("payment_id")
        assert sensors.tick("labels") == []
        assert "0 label files" in sensors.said

    def test_a_copy_of_a_known_file_is_removed_without_a_run(self, sensors: Sensors) -> None:
        land(sensors, "a.csv", "1")
        joined(sensors, wait=False)
        land(sensors, "a.csv", "1")
        assert sensors.tick("labels") == []
        assert "0 label files, 1 already known" in sensors.said
        assert sensors.services.labels.landed("payments") == []

    def test_a_file_that_cannot_be_opened_does_not_stop_the_others(
        self, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        land(sensors, "locked.csv", "0")
        good = land(sensors, "open.csv", "1")
        read = FileLabelStore.file_id

        def refuse(file: Path) -> str:
            if file.name == "locked.csv":
                raise PermissionError(13, "Permission denied")
            return read(file)

        monkeypatch.setattr(FileLabelStore, "file_id", staticmethod(refuse))
        assert len(sensors.tick("labels")) == 1
        assert sensors.last.tags[LABELS_TAG] == f"from-{good}"

    def test_what_a_killed_run_had_taken_is_asked_for_again(self, sensors: Sensors) -> None:
        file_id = land(sensors, "a.csv", "1")
        (run,) = sensors.tick("labels")
        assert taken(sensors) == [file_id]
        sensors.ends(run, well=False)
        assert sensors.tick("labels") == []
        assert "the next try is not before" in sensors.said
        assert len(sensors.next_try()) == 1
        assert sensors.last.run_key == f"payments-labels-from-{file_id}-2"

    def test_a_poisonous_file_is_tried_with_the_others_then_alone_then_given_up(self, sensors: Sensors) -> None:
        poison, good = land(sensors, "a-poison.csv", "1"), land(sensors, "b-good.csv", "2")
        asked = []
        while launched := sensors.next_try():
            asked.append((sensors.last.tags[LABELS_TAG], sensors.last.tags.get(ALONE_TAG)))
            if asked[-1][0] == f"from-{good}":
                joined(sensors, wait=False)
                sensors.ends(launched[0], well=True)
            else:
                sensors.ends(launched[0], well=False)
            assert len(asked) < 20
        assert asked == [*3 * [(f"from-{poison}", None)], *3 * [(poison, poison)], (f"from-{good}", None)]
        assert len({request.run_key for request in sensors.requests}) == len(sensors.requests)
        folder = sensors.services.labels.quarantined("payments", poison)
        assert (folder / "bytes.csv").read_text() == "payment_id,is_fraud\n1,1\n"
        assert "failed 3 times" in (folder / "reason.json").read_text()
        assert len(notices(sensors)) == 1
        assert "'a-poison.csv' is in quarantine" in notices(sensors)[0]

    def test_a_taken_file_that_is_poisonous_is_given_up_too(self, sensors: Sensors) -> None:
        poison = land(sensors, "a.csv", "1")
        taken(sensors)
        for _ in range(6):
            (run,) = sensors.next_try()
            sensors.ends(run, well=False)
        assert sensors.tick("labels") == []
        assert "all are in quarantine" in sensors.said
        assert len(pd.read_parquet(sensors.services.labels.quarantined("payments", poison) / "rows.parquet")) == 1


class TestWaiting:
    def test_the_batch_that_labels_wait_for_is_seen(self, sensors: Sensors) -> None:
        batch(sensors, 0, "7")
        land(sensors, "a.csv", "1", "2")
        joined(sensors)
        assert sensors.tick("labels") == []
        assert sensors.said.endswith("2 labels wait for their batch, which is none of 0 that settled since")
        batch(sensors, 1, "8")
        assert sensors.tick("labels") == []
        assert sensors.said.endswith("which is none of 1 that settled since")
        assert sensors.tick("labels") == []
        assert sensors.said.endswith("which is none of 0 that settled since")
        batch(sensors, 2, "2")
        (run,) = sensors.tick("labels")
        assert sensors.tick("labels") == []
        joined(sensors)
        sensors.ends(run, well=True)
        assert sensors.tick("labels") == []
        assert len(sensors.requests) == 1

    def test_a_lost_cursor_looks_again_and_asks_for_nothing_more(self, sensors: Sensors) -> None:
        land(sensors, "a.csv", "1")
        joined(sensors)
        batch(sensors, 1, "8")
        for _ in range(2):
            assert sensors.tick("labels") == []
            assert sensors.said.endswith("none of 1 that settled since")
            sensors._cursors.clear()

    def test_a_join_by_another_hand_makes_the_cursor_void(self, sensors: Sensors) -> None:
        """Its waiting labels are others: batches that this sensor looked at before may hold them."""
        land(sensors, "a.csv", "1")
        joined(sensors)
        batch(sensors, 1, "8")
        sensors.tick("labels")
        store = sensors.services.labels
        land(sensors, "b.csv", "8")
        done = taken(sensors)
        store.keep_waiting("payments", store.waiting("payments", done), done, sequence=0)
        assert len(sensors.tick("labels")) == 1

    def test_batches_beyond_a_tick_s_budget_come_with_the_next(
        self, sensors: Sensors, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(labels_module, "BATCHES_PER_TICK", 2)
        land(sensors, "a.csv", "1")
        joined(sensors)
        for number in range(5):
            batch(sensors, number, "1" if number == 4 else f"x{number}")
        assert [len(sensors.tick("labels")) for _ in range(3)] == [0, 0, 1]

    def test_a_join_that_keeps_crashing_is_told_once_and_left(self, sensors: Sensors) -> None:
        land(sensors, "a.csv", "1")
        joined(sensors)
        batch(sensors, 1, "1")
        for _ in range(3):
            (run,) = sensors.next_try()
            sensors.ends(run, well=False)
        for _ in range(3):
            assert sensors.tick("labels") == []
        assert len(notices(sensors)) == 1
        assert "failed 3 times" in notices(sensors)[0]
        assert sensors.services.labels.waiting_rows("payments") == 1
        batch(sensors, 2, "1")
        assert len(sensors.tick("labels")) == 1


def test_a_tick_ends_within_a_second(sensors: Sensors) -> None:
    """Fifty batches to look at for 100,000 waiting labels; the fastest of three."""
    land(sensors, "a.csv", *(f"w{n}" for n in range(100_000)))
    joined(sensors)
    for number in range(50):
        batch(sensors, number, *(f"p{number}-{row}" for row in range(2_500)))
    seconds = []
    for _ in range(3):
        sensors._cursors.clear()
        begun = perf_counter()
        assert sensors.tick("labels") == []
        seconds.append(perf_counter() - begun)
    assert "none of 50" in sensors.said
    assert min(seconds) < 1.0
