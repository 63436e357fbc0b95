"""Training that really fails, in the real stages: tried again later, given up, told to people; then with fewer rows."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from no_settings import forget_settings

from selfheal_assets.adapters.xgboost_trainer import XGBoostTrainer
from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.causes import Cause
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.failures import LONGEST_DELAY, MAX_ATTEMPTS
from selfheal_assets.core.incident import Incident, IncidentState
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.operations.home import initialise
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.simulator.landing import simulate
from selfheal_assets.simulator.payments import PaymentsWorld
from selfheal_assets.stages.identity import DECISION_TAG, ROW_CAP_TAG
from selfheal_assets.stages.training_frame import BATCH, HOLDOUT, SPLIT

ROWS = 1_400


class MovedClock:
    """The real one, moved on by hand."""

    ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessLoop]:
    with pytest.MonkeyPatch.context() as patch:
        forget_settings(patch)
        services = initialise(tmp_path_factory.mktemp("failing") / "home")
        services.clock = MovedClock()
        spec = load_spec(PROJECT / MODELS / "payments" / "defs.yaml")
        spec = replace(
            spec,
            training=replace(spec.training, trials=1, windows=(2,), min_rows=600, max_boost_rounds=20),
            performance=replace(spec.performance, min_rows=100),
            gate=replace(
                spec.gate, slices=(), metric_floor=0.5, margin=0.2, max_calibration_error=0.5, max_latency_ms=1e4
            ),
        )
        with dg.DagsterInstance.get() as instance:
            yield InProcessLoop(services, spec, instance)


def drop(loop: InProcessLoop, *numbers: int) -> None:
    plan = [(number, "healthy") for number in numbers]
    list(simulate(PaymentsWorld(seed=3), plan, ROWS, loop.services.batches.landing("payments")))


def records(loop: InProcessLoop, kind: RecordKind) -> list[Record]:
    return loop.services.ledger.after("payments", kind, 0, 1_000)


def evidence(loop: InProcessLoop, signal: Signal) -> list[Evidence]:
    found = [Evidence.from_record(record) for record in records(loop, RecordKind.EVIDENCE)]
    return [each for each in found if each.signal is signal]


def training_fault(loop: InProcessLoop) -> Incident:
    found = [Incident.from_record(record) for record in records(loop, RecordKind.INCIDENT)]
    return [incident for incident in found if incident.cause is Cause.TRAINING_FAULT][-1]


def settled(loop: InProcessLoop) -> list[str]:
    """The runs of retraining that the sensors asked for until they came to rest."""
    launched: list[str] = []
    loop.settle(launched.append)
    runs = [loop.instance.get_run_by_id(run_id) for run_id in launched]
    return [run.run_id for run in runs if run is not None and run.job_name == "payments_retrain"]


def failing(patch: pytest.MonkeyPatch, error: BaseException, times: int) -> None:
    train: Callable[..., Any] = XGBoostTrainer.train
    left = [error] * times

    def raises(*arguments: Any) -> Any:
        if left:
            raise left.pop()
        return train(*arguments)

    patch.setattr(XGBoostTrainer, "train", raises)


def test_failures_are_waited_for_then_given_up_then_told_to_people(
    loop: InProcessLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, ConnectionError("the object store is gone"), times=9)
    drop(loop, 0, 1)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert len(settled(loop)) == 1, f"attempt {attempt}"
        assert settled(loop) == [], "before the time of its next try"
        MovedClock.ahead += LONGEST_DELAY
    failures = records(loop, RecordKind.RUN_FAILURE)
    assert [f.status for f in failures] == ["RETRY_LATER", "RETRY_LATER", "GIVE_UP"]
    assert {f.payload["step"] for f in failures} == {"payments__candidate_model"}
    assert {f.payload["error_class"] for f in failures} == {"ConnectionError"}
    (outcome,) = records(loop, RecordKind.OUTCOME)
    assert outcome.status == "FAILED"
    (raised,) = evidence(loop, Signal.TRAINING)
    assert (raised.status, raised.details["run_id"]) == (Status.RAISED, failures[-1].payload["run_id"])
    assert training_fault(loop).state is IncidentState.ESCALATED
    MovedClock.ahead += timedelta(days=2)
    assert settled(loop) == [], "without new data nothing is tried again"


def test_then_with_fewer_rows_it_works_and_the_fault_is_over(
    loop: InProcessLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, MemoryError(), times=1)
    drop(loop, 2)
    (failed,) = settled(loop)
    MovedClock.ahead += LONGEST_DELAY
    (worked,) = settled(loop)
    run = loop.instance.get_run_by_id(worked)
    assert run is not None
    assert run.is_success, records(loop, RecordKind.OUTCOME)[-1].payload
    frame = loop.services.batches.read("payments", "training", run.tags[DECISION_TAG])
    assert len(frame) == int(run.tags[ROW_CAP_TAG])
    (failure,) = [f for f in records(loop, RecordKind.RUN_FAILURE) if f.payload["run_id"] == failed]
    assert (failure.status, failure.payload["sample"]) == ("RETRY_SMALLER", len(frame))
    assert len(set(frame[BATCH])) == 2, "every batch keeps its share"
    assert (frame[SPLIT] == HOLDOUT).mean() == pytest.approx(loop.spec.training.holdout_share, abs=0.02)
    assert frame["event_timestamp"].is_monotonic_increasing
    assert [e.status for e in evidence(loop, Signal.TRAINING)] == [Status.RAISED, Status.CLEAR]
    assert training_fault(loop).state is IncidentState.RESOLVED
    (promotion,) = evidence(loop, Signal.PROMOTION)
    assert (promotion.status, promotion.champion_version) == (Status.CLEAR, "1")
    assert promotion.details == {"version": "1", "decision_id": run.tags[DECISION_TAG]}
