"""Retention on a real Dagster instance: old runs that nothing needs go, with events and files; all others stay."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.storage.runs.schema import RunsTable
from typer.testing import CliRunner

from selfheal_assets.cli import app
from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.incident import Attempt, Incident, IncidentState, OutcomeStatus
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.retention import Needed
from selfheal_assets.definitions import defs
from selfheal_assets.operations.home import INSTANCE, use_home
from selfheal_assets.sensors.old_runs import Pruned, cutoff, prune_runs
from selfheal_assets.sensors.retention import NAME, retention_job
from selfheal_assets.stages.identity import DECISION_TAG, LABELS_TAG, MODEL_TAG
from selfheal_assets.wiring import Services, resources

MODEL = "payments"
PARTITION = "dagster/partition"
NOW = datetime.now(UTC)
DAYS = 90
LONG_AGO = NOW - timedelta(days=100)


class World:
    """A home with a real instance, and runs of any age in it."""

    def __init__(self, services: Services, instance: dg.DagsterInstance) -> None:
        self.services, self.instance, self.ledger = services, instance, services.ledger

    def run(self, ended: datetime = LONG_AGO, *, model: str = MODEL, job: str = "payments_ingest", **more: str) -> str:
        """A finished run with one event, as if it had ended then."""
        tags = {MODEL_TAG: model, **more}
        run = self.instance.add_run(dg.DagsterRun(job_name=job, tags=tags, status=dg.DagsterRunStatus.SUCCESS))
        self.instance.report_engine_event("it ran", run)
        return self.aged(run.run_id, ended)

    def aged(self, run_id: str, ended: datetime) -> str:
        change = RunsTable.update().where(RunsTable.c.run_id == run_id)
        naive = ended.replace(tzinfo=None)
        with self.instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
            connection.execute(change.values(create_timestamp=naive, update_timestamp=naive))
        return run_id

    def record(self, kind: RecordKind, subject: str, status: str, **payload: object) -> Record:
        return Record(
            key=f"{kind}:{subject}",
            model=MODEL,
            kind=kind,
            subject=subject,
            status=status,
            event_time=LONG_AGO,
            recorded_at=LONG_AGO,
            payload=payload,
        )

    def prune(self, *, limit: int = 100, dry_run: bool = False) -> Pruned:
        before = cutoff(NOW, DAYS)
        return prune_runs(self.instance, self.services, [MODEL], before, limit=limit, dry_run=dry_run)

    def there(self, *run_ids: str) -> list[bool]:
        return [self.instance.has_run(run_id) for run_id in run_ids]


@pytest.fixture
def world(home: Path) -> Iterator[World]:
    use_home(home)
    (home / "dagster").mkdir(parents=True)
    shutil.copyfile(INSTANCE, home / "dagster" / "dagster.yaml")
    services = Services.from_environment()
    services.ledger.initialise()
    with dg.DagsterInstance.get() as instance:
        yield World(services, instance)


def test_only_old_runs_go_and_with_all_that_is_kept_of_them(world: World) -> None:
    old, new = world.run(), world.run(NOW - timedelta(days=80))
    shard = Path(world.instance.event_log_storage.path_for_shard(old))  # type: ignore[attr-defined]
    logs = world.services.home / "dagster" / "storage" / old / "compute_logs"
    logs.mkdir(parents=True)
    (logs / "step.err").write_text("said")
    assert shard.exists()
    done = world.prune()
    assert (done.gone, done.run_ids, done.more) == ({"payments_ingest": 1}, (old,), False)
    assert world.there(old, new) == [False, True]
    assert not shard.exists()
    assert not (logs / "step.err").exists()
    assert world.instance.all_logs(new)
    assert world.prune().run_ids == (), "doing it twice removes no more"


def test_what_is_not_of_a_declared_model_or_not_ended_stays(world: World) -> None:
    other = world.run(model="somebody_elses")
    run = dg.DagsterRun(job_name="payments_ingest", tags={MODEL_TAG: MODEL}, status=dg.DagsterRunStatus.STARTED)
    under_way = world.aged(world.instance.add_run(run).run_id, LONG_AGO)
    assert world.prune().run_ids == ()
    assert world.there(other, under_way) == [True, True]


def test_a_live_partition_keeps_its_run(world: World) -> None:
    world.instance.add_dynamic_partitions(f"{MODEL}_batches", ["live"])
    live, retired = world.run(**{PARTITION: "live"}), world.run(**{PARTITION: "retired"})
    ranged = world.run(
        **{"dagster/asset_partition_range_start": "retired", "dagster/asset_partition_range_end": "live"}
    )
    done = world.prune()
    assert done.run_ids == (retired,)
    assert done.kept == {Needed.LIVE: 2}
    assert world.there(live, ranged) == [True, True]


def test_the_newest_materialization_of_an_asset_keeps_its_run(world: World) -> None:
    @dg.asset(key=[MODEL, "candidate_model"])
    def candidate() -> None: ...

    runs = [dg.materialize([candidate], instance=world.instance, tags={MODEL_TAG: MODEL}).run_id for _ in range(2)]
    for run_id in runs:
        world.aged(run_id, LONG_AGO)
    done = world.prune()
    assert done.run_ids == (runs[0],)
    assert done.kept == {Needed.NEWEST: 1}
    newest = world.instance.get_latest_materialization_event(dg.AssetKey([MODEL, "candidate_model"]))
    assert newest is not None
    assert newest.run_id == runs[1]


def test_what_is_not_done_keeps_its_runs(world: World) -> None:
    restarted = Attempt(action=Action.RESTART, decision_id="tried", decided_at=LONG_AGO)
    incident = Incident(
        id="i",
        model=MODEL,
        cause=Cause.SERVING_FAULT,
        state=IncidentState.VERIFYING,
        reason="seen",
        opened_at=LONG_AGO,
        batch_ids=("b",),
        champion_version="1",
        tried=(restarted,),
    )
    world.ledger.append(
        incident.to_record(LONG_AGO),
        *(world.record(RecordKind.DECISION, each, "DECIDED", action="retrain") for each in ("undone", "done", "tried")),
        *(world.record(RecordKind.OUTCOME, each, OutcomeStatus.REFUSED, version=None) for each in ("done", "tried")),
        world.record(RecordKind.BATCH_REGISTERED, "open", "REGISTERED"),
    )
    kept = [
        world.run(job="payments_retrain", **{DECISION_TAG: "undone"}),
        world.run(job="payments_retrain", **{DECISION_TAG: "tried"}),
        world.run(**{PARTITION: "open"}),
    ]
    gone = [
        world.run(job="payments_retrain", **{DECISION_TAG: "done"}),
        world.run(job="payments_labels", **{LABELS_TAG: "from-a-file-that-was-joined"}),
    ]
    done = world.prune()
    assert list(done.run_ids) == gone
    assert world.there(*kept) == [True] * 3
    assert done.kept == {Needed.OPEN: 3}


def test_a_step_is_bounded_and_takes_the_oldest_first(world: World) -> None:
    runs = [world.run(LONG_AGO + timedelta(days=day)) for day in range(5)]
    first = world.prune(limit=2)
    assert (list(first.run_ids), first.more) == (runs[:2], True)
    assert "there are more" in first.words
    second = world.prune(limit=3)
    assert (list(second.run_ids), second.more) == (runs[2:], False)


def test_a_dry_run_removes_nothing(world: World) -> None:
    old = world.run()
    assert world.prune(dry_run=True).run_ids == (old,)
    assert world.there(old) == [True]
    before = world.ledger.head()
    runner = CliRunner()
    said = runner.invoke(app, ["retention", "--dry-run"]).output
    assert "would remove 1 runs" in said
    assert world.there(old) == [True]
    assert "removed 1 runs" in runner.invoke(app, ["retention"]).output
    assert "removed 0 runs" in runner.invoke(app, ["retention"]).output
    assert world.there(old) == [False]
    assert world.ledger.head() == before, "the ledger is never pruned"


def test_the_job_says_what_it_removed_and_removes_its_own_old_runs(world: World) -> None:
    old = world.run()
    job, own = retention_job(lambda: [MODEL], DAYS), resources(world.services)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

    def executed() -> dict[str, object]:
        result = job.execute_in_process(instance=world.instance, resources=own, run_config=quiet)
        world.aged(result.run_id, LONG_AGO)
        output = next(event for event in result.all_events if event.is_successful_output)
        return {name: value.value for name, value in output.step_output_data.metadata.items()}

    first = executed()
    assert (first["runs_removed"], first["first_run_ids"]) == (1, [old])
    assert executed()["by_job"] == {NAME: 1}


def test_the_code_location_runs_it_every_night(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFHEAL_HOME", str(home))
    monkeypatch.delenv("SELFHEAL_OVERLAYS", raising=False)
    repository = defs().get_repository_def()
    schedule = repository.get_schedule_def(NAME)
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.job_name == NAME
    assert repository.get_job(NAME).tags == {MODEL_TAG: "*"}


def test_times_are_compared_in_utc(world: World) -> None:
    """Dagster's databases hold times without a zone."""
    inside, outside = (world.run(cutoff(NOW, DAYS) + timedelta(hours=hours)) for hours in (1, -1))
    assert world.prune().run_ids == (outside,)
    assert world.there(inside) == [True]
    with world.instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        assert connection.scalar(sa.select(sa.func.count()).select_from(RunsTable)) == 1
