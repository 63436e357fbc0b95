"""Scores of a real server process, asked by the usual population and by another: what is stated, and what follows."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import numpy as np
import pytest
from brain import spec as model_spec
from served import ROW
from serving_process import Running, running
from set_clock import SetClock

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.incident import Incident, IncidentState, OutcomeStatus
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.rollout_look import bucketed
from selfheal_assets.sensors.healer import heal
from selfheal_assets.sensors.serving import serving_sensor
from selfheal_assets.wiring import Services

BASE = model_spec()
SPEC = replace(BASE, name="payments", serving=replace(BASE.serving, score_minutes=1.0, min_scores=300))
"""The name under which the process is registered; what it serves scores an amount by its share of 1,000."""
TICK_SECONDS, ROWS = 10.0, 100


@dg.asset(key=["payments", "champion_model"])
def champion() -> None:
    """What the sensor stands beside in Dagster's UI."""


REPOSITORY = dg.Definitions(assets=[champion]).get_repository_def()


class World:
    """A home, a server process over it, and those who ask."""

    def __init__(self, server: Running, stack: ExitStack) -> None:
        self.server, self.clock = server, SetClock(datetime.now(UTC))
        self.services = Services(server.home, clock=self.clock)
        self.services.ledger.initialise()
        self.client = stack.enter_context(httpx.Client(base_url=server.url, timeout=20.0, trust_env=False))
        self.instance = stack.enter_context(dg.DagsterInstance.ephemeral())
        self.sensor, self.cursor = serving_sensor(SPEC), None
        self.random, self.events = np.random.default_rng(5), 0

    def amounts(self, usual: float, rows: int) -> np.ndarray:
        return np.clip(self.random.gamma(2.0, usual / 2.0, rows), 0.0, 1_000.0)

    def promote(self, version: str) -> None:
        """With its scores on the usual amounts."""
        own = list(bucketed(self.amounts(150.0, 1_000) / 1_000.0))
        self.services.batches.write_document(SPEC.name, f"reference-{version}", {"score_counts": own})
        now = self.clock.now()
        record = Record(
            key=f"outcome:{version}",
            model=SPEC.name,
            kind=RecordKind.OUTCOME,
            subject=f"d{version}",
            status=OutcomeStatus.PROMOTED,
            event_time=now,
            recorded_at=now,
            payload={"version": version, "metric": 0.9, "reason": "", "previous_version": None},
        )
        self.services.ledger.append(record)

    def asked_for(self, minutes: float, *, usual: float) -> list[Status]:
        """Requests about amounts that are `usual` on average, and the sensor's looks; what it stated meanwhile."""
        before = len(self.stated())
        for _ in range(round(60.0 * minutes / TICK_SECONDS)):
            rows = []
            for amount in self.amounts(usual, ROWS).tolist():
                self.events += 1
                rows.append({**ROW, "amount": amount, "event_id": f"e{self.events}"})
            self.client.post("/predict", json={"rows": rows}).raise_for_status()
            self.tick()
        return [one.status for one in self.stated()[before:]]

    def tick(self) -> None:
        self.clock.moment += timedelta(seconds=TICK_SECONDS)
        resources: dict[str, Any] = {"selfheal": self.services}
        build = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources=resources, repository_def=REPOSITORY
        )
        with build as context:
            self.cursor = self.sensor.evaluate_tick(context).cursor

    def stated(self) -> list[Evidence]:
        """Of the scores, oldest first."""
        found = map(Evidence.from_record, self.services.ledger.after(SPEC.name, RecordKind.EVIDENCE, 0, 1_000))
        return [one for one in found if one.signal is Signal.SERVED_SCORES]

    def healed(self) -> list[Incident]:
        """What the healer makes of it: every incident, as of its last transition."""
        for _ in range(3):
            with dg.build_sensor_context(instance=self.instance) as context:
                requests, _ = heal(context, self.services, SPEC)
                assert not requests
        found = self.services.ledger.after(SPEC.name, RecordKind.INCIDENT, 0, 1_000)
        return list({record.subject: Incident.from_record(record) for record in found}.values())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        made = World(stack.enter_context(running(tmp_path / "home")), stack)
        made.promote("1")
        yield made


def test_scores_of_another_population_are_stated_told_and_over_when_the_usual_one_is_back(world: World) -> None:
    unknown, clear, raised = Status.UNKNOWN, Status.CLEAR, Status.RAISED
    assert world.asked_for(4.0, usual=150.0) == [unknown, clear], "and once each, however often it is looked at"
    assert world.healed() == []

    assert world.asked_for(3.0, usual=500.0)[:2] == [unknown, raised]
    evidence = world.stated()[-1]
    assert evidence.champion_version == "1"
    assert evidence.value is not None
    assert evidence.value > 2 * SPEC.serving.max_score_psi
    assert sum(evidence.details["scores"]) == evidence.sample_size
    (shift,) = world.healed()
    assert (shift.cause, shift.state) == (Cause.SCORE_SHIFT, IncidentState.VERIFYING)
    assert [attempt.action for attempt in shift.tried] == [Action.NOTIFY]

    assert world.asked_for(4.0, usual=150.0)[-2:] == [unknown, clear]
    (shift,) = world.healed()
    assert shift.state is IncidentState.RESOLVED
    assert len(str(world.cursor)) < 20_000


def test_another_champion_is_not_judged_by_the_requests_of_the_one_before(world: World) -> None:
    world.asked_for(4.0, usual=500.0)
    assert world.stated()[-1].status is Status.RAISED
    world.promote("2")
    world.tick()
    assert (world.stated()[-1].champion_version, world.stated()[-1].status) == ("2", Status.UNKNOWN)
    assert world.healed() == []
