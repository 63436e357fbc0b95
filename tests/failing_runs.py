"""The daemon's part of a model with runs that are real and short: each fails as the test says, or is left to begin."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from set_clock import SetClock

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.incident import Incident
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.operations.in_process import QUIET, RUN_KEY_TAG, SENSOR_TAG, InProcessLoop
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.stages.batch_records import BatchStatus, close_batch, settle
from selfheal_assets.stages.identity import MODEL_TAG
from selfheal_assets.wiring import Services

SPEC = load_spec(PROJECT / MODELS / "payments" / "defs.yaml")
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 3_000


class FailingRuns(InProcessLoop):
    """`fails` is asked for the error of each run that is requested; without one the run only begins."""

    clock: SetClock

    def __init__(self, services: Services, spec: ModelSpec, instance: dg.DagsterInstance) -> None:
        super().__init__(services, spec, instance)
        self.requests: list[dg.RunRequest] = []
        self.fails: Callable[[], BaseException | None] = lambda: None

    def _execute(self, sensor: str, job_name: str, request: dg.RunRequest) -> str:
        self.requests.append(request)
        tags = {**request.tags, MODEL_TAG: self.spec.name, RUN_KEY_TAG: str(request.run_key), SENSOR_TAG: sensor}
        error = self.fails()
        if error is None:
            return self.begun(job_name, tags)
        return self.failed(job_name, tags, error)

    def begun(self, job_name: str, tags: dict[str, str]) -> str:
        run = dg.DagsterRun(job_name=job_name, tags=tags, status=dg.DagsterRunStatus.STARTED)
        return self.instance.add_run(run).run_id

    def failed(self, job_name: str, tags: dict[str, str], error: BaseException) -> str:
        """A run that Dagster executes, and in which the error is raised."""

        @dg.op(name="work")
        def work() -> None:
            raise error

        @dg.job(name=job_name)
        def job() -> None:
            work()

        ended = job.execute_in_process(instance=self.instance, tags=tags, run_config=QUIET, raise_on_error=False)
        return ended.run_id

    def end(self, run_id: str, words: str | None = None) -> None:
        """From outside, as a launcher, a daemon or a person does."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        self.instance.report_run_failed(run, words)

    @property
    def last(self) -> dg.RunRequest:
        return self.requests[-1]

    @property
    def said(self) -> str:
        return self.ticks[-1]

    def records(self, kind: RecordKind) -> list[Record]:
        return self.services.ledger.after(self.spec.name, kind, 0, 10_000)

    def incidents(self) -> dict[str, Incident]:
        """As of their last transitions, by cause."""
        found = [Incident.from_record(record) for record in self.records(RecordKind.INCIDENT)]
        return {str(incident.cause): incident for incident in found}

    def ingested(self, batch_id: str) -> None:
        """A clean, labelled batch whose ingest has ended, six hours after the one before."""
        self.clock.forward(hours=6)
        self.registered(batch_id)
        counts = {"rows_landed": ROWS, "rows_clean": ROWS, "labelled_rows": ROWS}
        settle(self.services, self.spec, batch_id, BatchStatus.CLEAN, reasons=[], **counts)
        close_batch(self.services, self.spec, batch_id)

    def registered(self, batch_id: str) -> None:
        now = self.clock.now()
        self.services.ledger.append(
            Record(
                key=f"registered:{batch_id}",
                model=self.spec.name,
                kind=RecordKind.BATCH_REGISTERED,
                subject=batch_id,
                status="REGISTERED",
                event_time=now,
                recorded_at=now,
                payload={"file_name": f"{batch_id}.csv", "size_bytes": 1, "landed_at": now.isoformat()},
            )
        )


def empty_instance(folder: Path) -> Path:
    """A migrated Dagster instance without a run, to be copied."""
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        instance.get_runs_count()
        instance.get_dynamic_partitions("any")
        instance.all_instigator_state()
    return folder


def failing_runs(template: Path, place: Path, spec: ModelSpec = SPEC) -> FailingRuns:
    """Over a home of its own; its instance must be disposed of."""
    shutil.copytree(template, place / "dagster")
    clock = SetClock(BEGINNING)
    services = Services(place, clock=clock)
    services.ledger.initialise()
    loop = FailingRuns(services, spec, dg.DagsterInstance.local_temp(str(place / "dagster")))
    loop.clock = clock
    return loop
