"""Runs that fail: waited for, made smaller, given up or left alone by what they failed of; never without an end."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import perf_counter

import dagster as dg
import pytest
from failing_runs import SPEC, FailingRuns, empty_instance, failing_runs

from selfheal_assets.core.causes import Cause
from selfheal_assets.core.errors import SpecError, TrainingError
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.failures import INSTANCE_ENDED, LONGEST_DELAY, MAX_ATTEMPTS
from selfheal_assets.core.incident import IncidentState, OutcomeStatus, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.core.resources import enlarged
from selfheal_assets.sensors.arrivals import RANGE_END, RANGE_START
from selfheal_assets.stages.heal_decision import close, heal_decision
from selfheal_assets.stages.identity import ATTEMPT_TAG, BACKLOG_TAG, DECISION_TAG, MODEL_TAG, ROW_CAP_TAG
from selfheal_assets.stages.pod_resources import K8S_TAG, step_names
from selfheal_assets.wiring import Services

SMALL = replace(SPEC, training=replace(SPEC.training, min_rows=1_200))
"""6,000 labelled rows may be halved once to 3,000, and not to less than 1,600."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return empty_instance(tmp_path_factory.mktemp("instance"))


@pytest.fixture
def build(template: Path, tmp_path: Path) -> Iterator[Callable[..., FailingRuns]]:
    made: list[FailingRuns] = []

    def make(spec: ModelSpec = SMALL) -> FailingRuns:
        made.append(failing_runs(template, tmp_path / str(len(made)), spec))
        return made[-1]

    yield make
    for loop in made:
        loop.instance.dispose()


@pytest.fixture
def loop(build: Callable[..., FailingRuns]) -> FailingRuns:
    return build()


@pytest.fixture
def decided(loop: FailingRuns) -> FailingRuns:
    """Enough to learn the first model from."""
    for batch_id in ("b-0", "b-1"):
        loop.ingested(batch_id)
    return loop


def after_wait(loop: FailingRuns, sensor: str = "drift_sensor") -> list[str]:
    assert loop.tick(sensor) == [], "before the time of its next try nothing is asked for"
    loop.clock.moment += LONGEST_DELAY
    return loop.tick(sensor)


def training(loop: FailingRuns) -> list[Evidence]:
    found = [Evidence.from_record(record) for record in loop.records(RecordKind.EVIDENCE)]
    return [e for e in found if e.signal is Signal.TRAINING]


def notices(loop: FailingRuns) -> list[dict[str, str]]:
    return [json.loads(line) for line in (loop.services.home / "notifications.jsonl").read_text().splitlines()]


class TestDecisions:
    def test_what_is_transient_waits_longer_each_time_and_is_given_up(self, decided: FailingRuns) -> None:
        decided.fails = lambda: ConnectionRefusedError("[Errno 111] Connection refused")
        decided.tick("drift_sensor")
        waits = []
        for attempt in range(2, MAX_ATTEMPTS + 1):
            assert decided.tick("drift_sensor") == []
            assert "failed (transient): ConnectionRefusedError: [Errno 111] Connection refused" in decided.said
            (failure,) = decided.services.ledger.newest("payments", RecordKind.RUN_FAILURE)
            waits.append((failure.event_time, failure.payload["next_try"]))
            assert len(after_wait(decided)) == 1
            assert decided.last.tags[ATTEMPT_TAG] == str(attempt)
            assert ROW_CAP_TAG not in decided.last.tags
        assert decided.tick("drift_sensor") == []
        assert f"its run failed {MAX_ATTEMPTS} times: ConnectionRefusedError" in decided.said
        assert len({request.run_key for request in decided.requests}) == MAX_ATTEMPTS
        assert waits == sorted(waits)

    def test_a_record_says_what_failed_where_and_what_follows(self, decided: FailingRuns) -> None:
        decided.fails = lambda: ConnectionResetError("by peer")
        (run,) = decided.tick("drift_sensor")
        decided.tick("drift_sensor")
        (failure,) = decided.records(RecordKind.RUN_FAILURE)
        assert (failure.subject, failure.status) == (decided.last.tags[DECISION_TAG], "RETRY_LATER")
        payload = dict(failure.payload)
        assert payload.pop("next_try") > failure.recorded_at.isoformat()
        assert payload == {
            "run_id": run,
            "job": "payments_retrain",
            "step": "work",
            "error_class": "ConnectionResetError",
            "message": "by peer",
            "failure": "transient",
            "attempt": 1,
            "reason": "failed (transient)",
            "sample": None,
        }

    def test_what_ran_out_of_memory_takes_half_the_rows_until_less_would_be_of_no_use(
        self, decided: FailingRuns
    ) -> None:
        decided.fails = lambda: MemoryError()
        decided.tick("drift_sensor")
        after_wait(decided)
        assert decided.last.tags[ROW_CAP_TAG] == "3000"
        assert "ran out of memory on 6000; the next run takes 3000 at most" in "".join(decided.ticks)
        after_wait(decided)
        assert decided.last.tags[ROW_CAP_TAG] == "3000", "1,500 rows are fewer than a training needs"
        assert K8S_TAG not in decided.last.tags, "nothing here has a limit to be raised"
        assert decided.tick("drift_sensor") == []
        assert "is given up" in decided.said

    def test_a_killed_process_counts_as_out_of_memory_and_an_ended_instance_waits_for_nothing(
        self, decided: FailingRuns
    ) -> None:
        (run,) = decided.tick("drift_sensor")
        decided.end(run, INSTANCE_ENDED)
        (run,) = decided.tick("drift_sensor")
        explained = "Run execution process for x was terminated by signal 9 (SIGKILL). This usually indicates"
        found = decided.instance.get_run_by_id(run)
        assert found is not None
        decided.instance.report_engine_event(explained, found)
        decided.end(run)
        after_wait(decided)
        assert decided.last.tags[ROW_CAP_TAG] == "3000"

    @pytest.mark.parametrize(
        "error",
        [TrainingError("too few rows"), KeyError("column")],
        ids=lambda error: type(error).__name__,
    )
    def test_what_is_permanent_is_not_repeated(self, decided: FailingRuns, error: Exception) -> None:
        decided.fails = lambda: error
        decided.tick("drift_sensor")
        assert decided.tick("drift_sensor") == []
        assert "failed in a way that a repetition would not mend" in decided.said
        (outcome,) = decided.records(RecordKind.OUTCOME)
        assert outcome.status == OutcomeStatus.FAILED
        assert outcome.payload["error"] == type(error).__name__
        decided.clock.forward(days=9)
        assert decided.tick("drift_sensor") == []
        assert len(decided.requests) == 1

    def test_a_translated_error_keeps_its_cause(self, decided: FailingRuns) -> None:
        error = TrainingError("a saved model must load")
        error.__cause__ = TimeoutError("timed out")
        decided.fails = lambda: error
        decided.tick("drift_sensor")
        assert len(after_wait(decided)) == 1

    def test_given_up_is_a_training_fault_for_people_and_clear_when_training_works_again(
        self, decided: FailingRuns
    ) -> None:
        decided.fails = lambda: ValueError("no number")
        (run,) = decided.tick("drift_sensor")
        decided.tick("drift_sensor")
        (raised,) = training(decided)
        assert raised.status is Status.RAISED
        assert raised.details == {
            "decision_id": decided.last.tags[DECISION_TAG],
            "run_id": run,
            "error": "ValueError",
        }
        decided.tick("drift_sensor")
        incident = decided.incidents()[Cause.TRAINING_FAULT]
        assert incident.state is IncidentState.ESCALATED
        assert [(n["title"], n["severity"]) for n in notices(decided)] == [
            ("retrain failed", "failure"),
            ("training fault: diagnosed", "warning"),
            ("training fault: escalated", "failure"),
        ]
        assert decided.tick("drift_sensor") == []
        decided.fails = lambda: None
        decided.ingested("b-2")
        (run,) = decided.tick("drift_sensor")
        decision = decided.last.tags[DECISION_TAG]
        close(decided.services, SMALL, decision, OutcomeStatus.PROMOTED, version="1", reason="by the test")
        decided.end(run)
        decided.tick("drift_sensor")
        assert [e.status for e in training(decided)] == [Status.RAISED, Status.CLEAR]
        assert decided.incidents()[Cause.TRAINING_FAULT].state is IncidentState.RESOLVED

    @pytest.mark.parametrize(
        ("result", "statuses"), [(Result.REFUSED, [Status.CLEAR]), (Result.NONE_FITS, [])], ids=["a gate", "archive"]
    )
    def test_a_candidate_that_was_judged_shows_that_training_works(
        self, decided: FailingRuns, result: Result, statuses: list[Status]
    ) -> None:
        decided.tick("drift_sensor")
        decision = decided.last.tags[DECISION_TAG]
        for _ in range(2):
            close(decided.services, SMALL, decision, OutcomeStatus.REFUSED, version=None, reason="", result=result)
        assert [e.status for e in training(decided)] == statuses

    def test_a_run_that_ends_well_and_leaves_no_outcome_is_a_failure_too(self, decided: FailingRuns) -> None:
        """Or it would be asked for again at once, for ever."""
        for attempt in range(MAX_ATTEMPTS):
            (run,) = decided.tick("drift_sensor") if not attempt else after_wait(decided)
            decided.instance.delete_run(run)
            tags = {**decided.last.tags, MODEL_TAG: "payments"}
            done = dg.DagsterRun(job_name="payments_retrain", tags=tags, status=dg.DagsterRunStatus.SUCCESS)
            decided.instance.add_run(done)
        assert decided.tick("drift_sensor") == []
        assert "the run ended well and left undone what it was for" in decided.said
        assert "is given up" in decided.said

    def test_a_person_who_launches_a_given_up_run_again_decides_anew(self, decided: FailingRuns) -> None:
        """What it comes to is then on record: the outcome of what was given up stands."""
        decided.fails = lambda: ValueError("no number")
        decided.tick("drift_sensor")
        decided.tick("drift_sensor")
        given_up = decided.last.tags[DECISION_TAG]
        seen: list[str] = []

        @dg.asset
        def training_set(context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]) -> None:
            seen.extend(heal_decision(context, selfheal, SMALL).subject for _ in range(2))

        result = dg.materialize(
            [training_set],
            instance=decided.instance,
            resources={"selfheal": decided.services},
            tags={DECISION_TAG: given_up, MODEL_TAG: "payments"},
        )
        assert result.success
        assert seen == [f"again-{result.run_id}"[:24]] * 2
        run = decided.instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.tags[DECISION_TAG] == seen[0]
        decision = decided.services.ledger.newest("payments", RecordKind.DECISION, subject=seen[0])[0]
        assert decision.payload["reason"].startswith("launched again by a person: no champion yet")
        close(decided.services, SMALL, seen[0], OutcomeStatus.PROMOTED, version="1", reason="by the test")
        assert [e.status for e in training(decided)] == [Status.RAISED, Status.CLEAR]

    @pytest.mark.parametrize("executor", ["in_process", "k8s_job"])
    def test_larger_pods_where_kubernetes_runs_them(
        self, build: Callable[..., FailingRuns], monkeypatch: pytest.MonkeyPatch, executor: str
    ) -> None:
        monkeypatch.setenv("SELFHEAL_EXECUTOR", executor)
        loop = build()
        launcher = {
            "module": "dagster_k8s",
            "class": "K8sRunLauncher",
            "config": {"run_k8s_config": {"container_config": {"resources": {"limits": {"memory": "4Gi"}}}}},
        }
        loop.instance.dispose()
        place = str(loop.services.home / "dagster")
        loop.instance = dg.DagsterInstance.local_temp(place, overrides={"run_launcher": launcher})
        for batch_id in ("b-0", "b-1"):
            loop.ingested(batch_id)
        loop.fails = lambda: MemoryError()
        loop.tick("drift_sensor")
        assert K8S_TAG not in loop.last.tags
        for limit in ("8Gi", "16Gi"):
            after_wait(loop)
            container = {"container_config": {"resources": {"limits": {"memory": limit}}}}
            assert json.loads(loop.last.tags[K8S_TAG]) == container
            in_pods = {"execution": {"config": {"step_k8s_config": container}}}
            assert loop.last.run_config == (in_pods if executor == "k8s_job" else {})
            dg.validate_run_config(loop._repository.get_job("payments_retrain"), loop.last.run_config)

    @pytest.mark.parametrize("executor", ["in_process", "k8s_job"])
    def test_a_training_gets_what_is_declared_and_more_until_the_most(
        self, build: Callable[..., FailingRuns], monkeypatch: pytest.MonkeyPatch, executor: str
    ) -> None:
        """It keeps its rows while there is more memory to be had, and takes fewer when there is not."""
        monkeypatch.setenv("SELFHEAL_EXECUTOR", executor)
        resources = {"cpu": "2", "memory": "4Gi", "max_memory": "6Gi"}
        loop = build(replace(SMALL, training=replace(SMALL.training, resources=resources)))
        loop.instance.dispose()
        launcher = {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": {}}
        place = str(loop.services.home / "dagster")
        loop.instance = dg.DagsterInstance.local_temp(place, overrides={"run_launcher": launcher})
        for batch_id in ("b-0", "b-1"):
            loop.ingested(batch_id)
        loop.fails = lambda: MemoryError()
        loop.tick("drift_sensor")
        for number, (memory, capped) in enumerate([("4Gi", False), ("6Gi", False), ("6Gi", True)]):
            if number:
                after_wait(loop)
            own = {
                "container_config": {
                    "resources": {"requests": {"cpu": "2", "memory": memory}, "limits": {"memory": memory}}
                }
            }
            steps = loop.last.run_config.get("execution", {}).get("config", {}).get("per_step_k8s_config", {})
            if executor == "in_process":
                assert (json.loads(loop.last.tags[K8S_TAG]), steps) == (own, {})
            else:
                assert steps == (dict.fromkeys(step_names(loop.spec), own) if number else {})
                assert K8S_TAG not in loop.last.tags
            assert (ROW_CAP_TAG in loop.last.tags) is capped
            job = loop._repository.get_job("payments_retrain")
            dg.validate_run_config(job, loop.last.run_config)
            assert set(step_names(loop.spec)) <= {node.name for node in job.graph.nodes}

    @pytest.mark.parametrize(
        ("quantity", "expected"),
        [("4Gi", "8Gi"), ("1500M", "3000M"), ("0.5Ti", "1Ti"), ("1073741824", "2147483648"), ("much", None), (4, None)],
    )
    def test_quantities(self, quantity: object, expected: str | None) -> None:
        assert enlarged(quantity, 2) == expected

    @pytest.mark.parametrize("seed", range(2))
    def test_no_sequence_of_failures_goes_on_for_ever(self, decided: FailingRuns, seed: int) -> None:
        chance = random.Random(seed)
        errors = (ConnectionError, MemoryError, ValueError, TimeoutError, lambda: TrainingError("x"))
        decided.fails = lambda: chance.choice(errors)()
        quiet = 0
        while quiet < 3:
            quiet = 0 if decided.tick("drift_sensor") else quiet + 1
            decided.clock.moment += LONGEST_DELAY
            assert len(decided.requests) <= MAX_ATTEMPTS
        assert [record.status for record in decided.records(RecordKind.OUTCOME)] == [OutcomeStatus.FAILED]
        assert decided.incidents()[Cause.TRAINING_FAULT].state is IncidentState.ESCALATED


def land(loop: FailingRuns, *names: str) -> list[str]:
    folder = loop.services.batches.landing("payments")
    folder.mkdir(parents=True, exist_ok=True)
    ids = []
    for hour, name in enumerate(names):
        moment = (loop.clock.now() + timedelta(hours=hour)).isoformat()
        (folder / f".{name}").write_text(f"payment_id,event_timestamp\n{name},{moment}\n")
        (folder / f".{name}").rename(folder / f"{name}.csv")
        ids.append(loop.services.batches.batch_id(folder / f"{name}.csv"))
    return ids


def asked_for(loop: FailingRuns) -> int:
    """How many batches the last request is for."""
    request, present = loop.last, loop.instance.get_dynamic_partitions("payments_batches")
    if request.partition_key:
        return 1
    return present.index(request.tags[RANGE_END]) - present.index(request.tags[RANGE_START]) + 1


class TestBacklog:
    def test_what_ran_out_of_memory_is_halved(self, loop: FailingRuns) -> None:
        land(loop, *"abcdefgh")
        loop.fails = lambda: MemoryError()
        loop.tick("arrivals")
        sizes = [asked_for(loop)]
        for _ in range(3):
            after_wait(loop, "arrivals")
            sizes.append(asked_for(loop))
        assert sizes == [8, 4, 2, 1]
        assert "ran out of memory on 2; the next run takes 1 at most" in "".join(loop.ticks)

    def test_what_is_permanent_goes_batch_by_batch_at_once_and_to_quarantine(self, loop: FailingRuns) -> None:
        ids = land(loop, "a", "b")
        loop.fails = lambda: SpecError("x must be y")
        sizes = []
        while loop.tick("arrivals"):
            sizes.append(asked_for(loop))
        assert sizes == [2, 1, 1]
        settled = loop.services.ledger.current("payments", RecordKind.BATCH_SETTLED, ids)
        assert {record.status for record in settled.values()} == {"QUARANTINED"}
        reason = settled[ids[0]].payload["reasons"][0]
        assert "its ingest run failed in a way that a repetition would not mend: SpecError: x must be y" in reason
        assert loop.services.ledger.open_batches("payments", limit=9) == []

    @pytest.mark.parametrize("seed", range(2))
    def test_no_sequence_of_failures_goes_on_for_ever(self, loop: FailingRuns, seed: int) -> None:
        land(loop, *"abc")
        chance = random.Random(seed)
        loop.fails = lambda: chance.choice((ConnectionError, MemoryError, ValueError))()
        quiet = 0
        while quiet < 3:
            quiet = 0 if loop.tick("arrivals") else quiet + 1
            loop.clock.moment += LONGEST_DELAY
            # The whole, its part, and each batch by itself: each at most so often.
            assert len(loop.requests) <= MAX_ATTEMPTS * (1 + 1 + 3)
        assert loop.services.ledger.open_batches("payments", limit=9) == []
        assert not list(loop.services.batches.landing("payments").glob("*.csv"))

    def test_new_files_do_not_shorten_the_wait_of_those_that_failed(self, loop: FailingRuns) -> None:
        land(loop, "a", "b")
        loop.fails = lambda: ConnectionError()
        loop.tick("arrivals")
        loop.clock.forward(seconds=1)
        land(loop, "c")
        assert loop.tick("arrivals") == []
        assert "1 new files" in loop.said
        assert "the next try is not before" in loop.said


class TestSensor:
    def test_records_every_failed_run_of_the_model_once(self, loop: FailingRuns) -> None:
        """Also one that a person launched, which nobody asks for again; and after its cursor was lost."""
        loop.failed("payments_labels", {MODEL_TAG: "payments", "selfheal/labels": "from-x"}, ConnectionError("gone"))
        loop.failed("payments_release_quarantine", {MODEL_TAG: "payments"}, ValueError("no number"))
        loop.failed("others_ingest", {MODEL_TAG: "others", BACKLOG_TAG: "x"}, ValueError("no number"))
        for _ in range(2):
            assert loop.tick("failures") == []
            loop._cursors.clear()
        labels, by_hand = loop.records(RecordKind.RUN_FAILURE)
        assert (labels.subject, labels.status) == ("from-x", "RETRY_LATER")
        assert (by_hand.subject, by_hand.status) == (by_hand.payload["run_id"], "GIVE_UP")
        assert "a person launched it" in by_hand.payload["reason"]
        assert loop.ticks[0].startswith("payments_failures: 2 runs have failed since the last look; from-x failed")
        assert loop.ticks[1].endswith("0 runs have failed since the last look")

    def test_the_healer_and_the_sensor_record_the_same(self, decided: FailingRuns) -> None:
        """Whichever comes first: what follows is drawn from the run's id."""
        decided.fails = lambda: ConnectionError("gone")
        decided.tick("drift_sensor")
        decided.tick("failures")
        decided.tick("drift_sensor")
        decided.tick("failures")
        assert len(decided.records(RecordKind.RUN_FAILURE)) == 1

    def test_a_gate_that_refused_is_no_failure(self, decided: FailingRuns) -> None:
        (run,) = decided.tick("drift_sensor")
        close(
            decided.services,
            SMALL,
            decided.last.tags[DECISION_TAG],
            OutcomeStatus.REFUSED,
            version="1",
            reason="worse",
            result=Result.REFUSED,
        )
        decided.end(run)
        decided.tick("failures")
        decided.tick("drift_sensor")
        assert decided.records(RecordKind.RUN_FAILURE) == []

    def test_a_run_that_a_person_ended_is_asked_for_again_later(self, decided: FailingRuns) -> None:
        (run,) = decided.tick("drift_sensor")
        found = decided.instance.get_run_by_id(run)
        assert found is not None
        decided.instance.report_run_canceled(found)
        assert len(after_wait(decided)) == 1
        assert decided.records(RecordKind.RUN_FAILURE)[0].payload["message"] == "a person ended the run"

    def test_a_tag_of_a_person_does_no_harm(self, decided: FailingRuns) -> None:
        tags = {MODEL_TAG: "payments", DECISION_TAG: "d", ROW_CAP_TAG: "many"}
        decided.failed("payments_retrain", tags, MemoryError())
        assert decided.tick("failures") == []
        assert decided.records(RecordKind.RUN_FAILURE)[0].payload["sample"] is None

    def test_a_tick_after_many_failures_takes_less_than_a_second(self, loop: FailingRuns) -> None:
        for number in range(12):
            run = loop.begun("payments_ingest", {MODEL_TAG: "payments", BACKLOG_TAG: f"b-{number}"})
            loop.end(run)
        loop.tick("failures")
        began = perf_counter()
        loop.tick("failures")
        assert perf_counter() - began < 1.0
