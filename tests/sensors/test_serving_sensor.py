"""The serving sensor against servers that answer over HTTP, a real ledger, and what the healer makes of it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

import dagster as dg
import pytest
from brain import spec as model_spec
from set_clock import SetClock
from watched_servers import page, samples

from selfheal_assets import supervision
from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.incident import Incident, IncidentState, OutcomeStatus
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.server_reading import Death
from selfheal_assets.ports import RestartState
from selfheal_assets.sensors.healer import heal
from selfheal_assets.sensors.serving import serving_sensor
from selfheal_assets.server_files import Server, registered, servers_folder
from selfheal_assets.stages.case_file import case_file
from selfheal_assets.stages.case_markdown import case_markdown
from selfheal_assets.wiring import Services

SPEC = model_spec()
CLEAR, RAISED, UNKNOWN = Status.CLEAR, Status.RAISED, Status.UNKNOWN
PROBED = {"ok": True, "version": "2", "level": "live", "milliseconds": 3.0, "problem": None}


@dataclass
class Told:
    """What the server's pages say."""

    counts: dict[str, Any] = field(default_factory=lambda: {"ok": 100, "levels": {"live": 100}})
    ready: dict[str, Any] = field(default_factory=lambda: {"ready": True, "problems": []})
    probe: dict[str, Any] | None = field(default_factory=lambda: dict(PROBED))
    hangs: Event = field(default_factory=Event)
    garbage: bool = False
    probes: int = 0

    def count(self, **more: float) -> None:
        levels = {**self.counts["levels"], "live": self.counts["levels"]["live"] + sum(more.values())}
        added = {name: self.counts.get(name, 0) + number for name, number in more.items()}
        self.counts = {**self.counts, **added, "levels": levels}


class Pages(BaseHTTPRequestHandler):
    told: Told

    def do_GET(self) -> None:
        if self.told.hangs.is_set():
            self.told.hangs.wait()
            return
        if self.path == "/metrics":
            self._send(200, "<html>" if self.told.garbage else page(samples(**self.told.counts)))
        else:
            self._send(200 if self.told.ready["ready"] else 503, json.dumps(self.told.ready))

    def do_POST(self) -> None:
        self.told.probes += 1
        said = self.told.probe
        self._send(404 if said is None else 200, json.dumps(said))

    def _send(self, code: int, body: str) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@dg.asset(key=["m", "champion_model"])
def champion() -> None:
    """What the sensor stands beside in Dagster's UI."""


REPOSITORY = dg.Definitions(assets=[champion]).get_repository_def()


class World:
    """A home with a ledger, and a server that listens on 127.0.0.1."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home, self.stack, self.told = home, stack, Told()
        self.clock = SetClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
        self.services = Services(home, clock=self.clock)
        home.mkdir()
        self.services.ledger.initialise()
        self.sensor, self.cursor = serving_sensor(SPEC), None
        self.instance = stack.enter_context(dg.DagsterInstance.ephemeral())

    def listen(self, *, hours: float = 1.0) -> None:
        handler = type("Handler", (Pages,), {"told": self.told})
        server = self.stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        server.daemon_threads = True
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.stack.callback(server.shutdown)
        url, started = f"http://127.0.0.1:{server.server_address[1]}", self.clock.now() - timedelta(hours=hours)
        one = Server(url=url, pid=os.getpid(), started=started)
        self.stack.enter_context(registered(servers_folder(self.home, SPEC.name), one))

    def tick(self, seconds: float = 5.0) -> str:
        self.clock.moment += timedelta(seconds=seconds)
        resources = {"selfheal": self.services}
        build = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources=resources, repository_def=REPOSITORY
        )
        with build as context:
            data = self.sensor.evaluate_tick(context)
        assert not data.run_requests
        self.cursor = data.cursor
        return str(data.skip_message)

    def healed(self) -> list[str]:
        """One tick of the healer; what it said."""
        with dg.build_sensor_context(instance=self.instance) as context:
            requests, words = heal(context, self.services, SPEC)
        self.requests = requests
        return words

    def stated(self, *signals: Signal) -> list[tuple[str, str]]:
        found = self.services.ledger.after(SPEC.name, RecordKind.EVIDENCE, 0, 1_000)
        every = [(str(r.payload["signal"]), r.status) for r in found]
        return [one for one in every if not signals or one[0] in signals]

    def evidence(self, signal: Signal) -> Evidence:
        found = self.services.ledger.newest(SPEC.name, RecordKind.EVIDENCE, limit=100)
        return next(Evidence.from_record(r) for r in found if r.payload["signal"] == signal)

    def promote(self, version: str, previous: str | None) -> None:
        self.services.ledger.append(
            Record(
                key=f"outcome:{version}",
                model=SPEC.name,
                kind=RecordKind.OUTCOME,
                subject=f"d{version}",
                status=OutcomeStatus.PROMOTED,
                event_time=self.clock.now(),
                recorded_at=self.clock.now(),
                payload={"version": version, "metric": 0.9, "reason": "", "previous_version": previous},
            )
        )

    def incident(self, cause: Cause) -> Incident:
        found = self.services.ledger.newest(SPEC.name, RecordKind.INCIDENT, limit=100)
        return next(i for i in map(Incident.from_record, found) if i.cause is cause)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        made = World(tmp_path / "home", stack)
        made.promote("1", None)
        yield made
        made.told.hangs.clear()


def test_a_team_without_a_server_hears_nothing(world: World) -> None:
    assert world.tick() == "no model server has been seen"
    assert world.stated() == []


def test_a_healthy_server_is_stated_once_however_often_it_is_looked_at(world: World) -> None:
    world.listen()
    for _ in range(30):
        world.told.count(ok=20)
        world.tick()
    well = [(s, CLEAR) for s in ("errors", "timeouts", "latency", "feature_store")]
    assert world.stated() == [*well, ("served_scores", UNKNOWN)], "nothing is kept of the champion's own scores"
    assert world.told.probes == 30
    assert world.evidence(Signal.FEATURE_STORE).champion_version is None
    assert world.evidence(Signal.ERRORS).champion_version == "1"
    assert len(str(world.cursor)) < 20_000


def test_errors_are_stated_when_they_begin_now_and_then_while_they_last_and_when_they_end(world: World) -> None:
    world.listen()
    world.tick()
    for _ in range(120):
        world.told.count(ok=10, error=2)
        world.tick()
    raised = world.stated(Signal.ERRORS)
    assert raised[:2] == [("errors", CLEAR), ("errors", RAISED)]
    assert 4 <= len(raised) <= 9, "ten minutes of errors, looked at 120 times"
    for _ in range(14):
        world.told.count(ok=10)
        world.tick()
    assert world.stated(Signal.ERRORS)[-1] == ("errors", CLEAR)


def test_a_lost_cursor_loses_a_minute_and_no_statement(world: World) -> None:
    world.listen()
    world.tick()
    world.told.count(ok=10, error=10)
    world.tick()
    world.cursor = "{"
    world.tick()
    assert world.stated(Signal.ERRORS) == [("errors", CLEAR), ("errors", RAISED), ("errors", CLEAR)]


def test_a_tick_ends_in_time_though_the_server_hangs(world: World) -> None:
    world.listen()
    world.tick()
    world.told.hangs.set()
    for number in range(4):
        began = monotonic()
        said = world.tick()
        assert monotonic() - began < 2.0
        assert ("hangs" in said) is (number >= 2)
    assert world.evidence(Signal.ERRORS).details["pids"] == [os.getpid()]


def test_pages_that_are_none_are_no_answer(world: World) -> None:
    world.listen()
    world.told.garbage = True
    for _ in range(4):
        world.tick()
    assert "its metrics cannot be read" in world.evidence(Signal.ERRORS).reason
    world.told.garbage, world.told.probe = False, None
    assert world.tick(70.0).count("neither requests nor probes") == 4


def test_a_killed_server_without_a_supervisor_is_told_and_cannot_be_restarted(world: World) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    folder = servers_folder(world.home, SPEC.name)
    with registered(folder, Server(url="http://127.0.0.1:9", pid=killed.pid, started=world.clock.now())):
        world.tick()
        assert "was killed" in world.evidence(Signal.ERRORS).reason
        assert any("no supervisor keeps a server of m" in words for words in world.healed())
        world.healed()
    assert world.incident(Cause.SERVING_FAULT).state is IncidentState.ESCALATED


def supervised(world: World, *deaths: Death) -> None:
    """This process is the supervisor."""
    state = supervision.Supervision(pid=os.getpid(), since=world.clock.now(), child=7, deaths=deaths)
    supervision.tell(world.home, SPEC.name, state)


def test_a_process_that_died_is_healed_by_a_restart_that_is_asked_for_once(world: World) -> None:
    world.listen()
    supervised(world)
    world.tick()
    supervised(world, Death(pid=4242, at=world.clock.now(), words="it was ended by SIGKILL"))
    world.tick()
    assert world.evidence(Signal.ERRORS).details["pids"] == [4242]
    assert any("serving_fault -> restart" in words for words in world.healed())
    assert world.requests == []
    world.healed()
    (asked,) = supervision.requests(world.home, SPEC.name)
    assert asked.pids == (4242,)
    supervision.answer(world.home, SPEC.name, asked.decision_id, "it had been replaced already, by process 4243")
    assert any("replaced already" in words for words in world.healed())
    world.healed()
    assert world.services.ledger.newest(SPEC.name, RecordKind.OUTCOME)[0].status == OutcomeStatus.RESTARTED
    assert world.incident(Cause.SERVING_FAULT).state is IncidentState.VERIFYING
    for _ in range(14):
        world.told.count(ok=10)
        world.tick()
    world.healed()
    assert world.incident(Cause.SERVING_FAULT).state is IncidentState.RESOLVED
    assert supervision.requests(world.home, SPEC.name) == []
    case = case_file(world.services.ledger, SPEC, world.incident(Cause.SERVING_FAULT).id)
    assert case is not None
    assert "SIGKILL" in case_markdown(case)


def test_a_restart_that_nobody_carries_out_fails_after_a_while(world: World) -> None:
    world.listen()
    supervised(world, Death(pid=4242, at=world.clock.now(), words="it ended"))
    world.tick()
    world.healed()
    world.healed()
    world.clock.moment += timedelta(minutes=3)
    assert world.services.ledger.newest(SPEC.name, RecordKind.OUTCOME)[0].status == OutcomeStatus.PROMOTED
    world.healed()
    outcome = world.services.ledger.newest(SPEC.name, RecordKind.OUTCOME)[0]
    assert (outcome.status, "no restart within 120 s" in outcome.payload["reason"]) == (OutcomeStatus.FAILED, True)


def test_the_port_answers_the_same_decision_the_same(world: World) -> None:
    supervised(world)
    ask = [world.services.serving.restart(SPEC.name, "d1", [7]).state for _ in range(2)]
    assert ask == [RestartState.UNDER_WAY] * 2
    assert len(supervision.requests(world.home, SPEC.name)) == 1
    supervision.answer(world.home, SPEC.name, "d1", "done")
    assert world.services.serving.restart(SPEC.name, "d1", [7]).state is RestartState.DONE
    assert supervision.requests(world.home, SPEC.name) == []


def test_a_promotion_after_which_requests_fail_is_taken_back(world: World) -> None:
    world.listen()
    world.tick()
    world.promote("2", "1")
    world.told.count(ok=50)
    world.tick()
    world.told.count(ok=50, error=50)
    world.tick()
    assert world.evidence(Signal.RELEASE_FAULT).status is RAISED
    assert "version 2 was promoted" in world.evidence(Signal.RELEASE_FAULT).reason
    world.healed()
    assert world.incident(Cause.BAD_RELEASE).tried[-1].action is Action.ROLLBACK
    assert [request.job_name for request in world.requests] == ["m_rollback"]


def test_a_fault_that_stood_before_the_promotion_is_not_its(world: World) -> None:
    world.listen()
    world.tick()
    world.told.count(ok=50, error=50)
    world.tick()
    world.promote("2", "1")
    world.told.count(ok=50, error=50)
    world.tick()
    assert world.evidence(Signal.ERRORS).champion_version == "2"
    assert world.evidence(Signal.RELEASE_FAULT).status is UNKNOWN
    world.healed()
    assert world.incident(Cause.SERVING_FAULT).tried[-1].action is Action.RESTART


def test_a_business_metric_that_falls_with_a_promotion_is_stated(world: World) -> None:
    world.listen()
    world.told.counts["business"] = {"1": (9000.0, 9000.0, 9000.0)}
    world.tick()
    world.told.counts["business"] = {"1": (11_000.0, 10_000.0, 10_000.0), "2": (700.0, 0.0, 0.0)}
    world.tick()
    world.promote("2", "1")
    world.tick()
    assert world.evidence(Signal.BUSINESS).status is UNKNOWN, "what it met in its rollout is no word on it alone"
    world.told.counts["business"] = {"1": (11_000.0, 10_000.0, 10_000.0), "2": (2700.0, 800.0, 800.0)}
    world.tick()
    found = world.evidence(Signal.BUSINESS)
    assert (found.status, found.value) == (RAISED, pytest.approx(0.2))
    world.healed()
    assert world.incident(Cause.BAD_RELEASE).tried[-1].action is Action.ROLLBACK


def test_business_values_of_another_hour_are_not_compared_with(world: World) -> None:
    """The version before was better this morning, and as good as the new one of late."""
    world.listen()
    world.told.counts["business"] = {"1": (9000.0, 9000.0, 9000.0)}
    world.tick()
    world.told.counts["business"] = {"1": (99_000.0, 99_000.0, 99_000.0)}
    world.tick()
    world.tick(1_800.0)
    world.told.counts["business"] = {"1": (101_000.0, 99_800.0, 99_800.0)}
    world.tick()
    world.promote("2", "1")
    world.tick()
    world.told.counts["business"] = {**world.told.counts["business"], "2": (2000.0, 790.0, 790.0)}
    world.tick()
    assert world.evidence(Signal.BUSINESS).status is CLEAR
    assert "was 0.4000 (2000)" in world.evidence(Signal.BUSINESS).reason


def test_a_feature_store_that_is_away_is_stated_and_waited_for(world: World) -> None:
    world.listen()
    world.tick()
    world.told.probe = {**PROBED, "level": "default"}
    world.told.counts = {"ok": 200, "levels": {"live": 100, "default": 100}, "breaker_open": True}
    world.tick()
    world.healed()
    assert world.incident(Cause.FEATURE_STORE_FAULT).state is IncidentState.VERIFYING
    world.told.probe = dict(PROBED)
    for _ in range(14):
        world.told.counts = {**world.told.counts, "breaker_open": False}
        world.told.count(ok=10)
        world.tick()
    world.healed()
    assert world.incident(Cause.FEATURE_STORE_FAULT).state is IncidentState.RESOLVED
    assert world.requests == []


def test_a_server_has_the_time_to_load_the_very_first_champion(world: World) -> None:
    world.told.ready = {"ready": False, "problems": ["No model stands ready yet."]}
    world.listen()
    world.tick()
    assert world.stated(Signal.ERRORS) == [("errors", UNKNOWN)], "it was promoted five seconds ago"
    world.tick(60.0)
    assert "is not ready: No model stands ready yet." in world.evidence(Signal.ERRORS).reason
    assert world.stated(Signal.ERRORS)[-1] == ("errors", RAISED)
