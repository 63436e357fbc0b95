"""A challenger's way to everybody, or back: the real stages, sensors, registry and ledger, and a server that counts."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from fake_server import FakeServer, serving
from quick_home import quick_home
from rollout_world import SPEC, WORLD, Clock, aliases, forward, land, outcome, standing

from selfheal_assets.adapters.in_memory import InMemoryNotifier
from selfheal_assets.core.causes import Cause
from selfheal_assets.core.errors import RolloutError
from selfheal_assets.core.evidence import Signal
from selfheal_assets.core.incident import Incident, IncidentState, OutcomeStatus, Result
from selfheal_assets.core.record import RecordKind
from selfheal_assets.core.rollout_state import RolloutState
from selfheal_assets.core.watch import watch
from selfheal_assets.core.watched import Facts
from selfheal_assets.operations import rollouts, story
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.operations.replay import replay
from selfheal_assets.simulator.landing import drop
from selfheal_assets.simulator.payments import Regime
from selfheal_assets.stages.candidates import best_archived
from selfheal_assets.stages.case_markdown import case_markdown
from selfheal_assets.stages.making import frame_of
from selfheal_assets.stages.rollout_records import newest_rollout, transitions_of
from selfheal_assets.stages.watched_ledger import incident_facts
from selfheal_assets.wiring import Services

S = RolloutState
ENOUGH = 1_500
"""Rows after which every gate of an equal challenger passes."""


@pytest.fixture(scope="module")
def opened_before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Version 1 serves; harm was seen, and version 2, which passed every gate, is in the shadow."""
    folder = tmp_path_factory.mktemp("rollouts")
    with quick_home(folder / "home") as services:
        (folder / "dagster").mkdir()
        with dg.DagsterInstance.local_temp(str(folder / "dagster")) as instance:
            loop = InProcessLoop(services, SPEC, instance)
            land(loop, Regime.HEALTHY, 0, 1)
            assert aliases(loop) == ("1", None), "the first model has nobody to be compared with"
            assert newest_rollout(services.ledger, SPEC) is None
            with serving(services, SPEC):
                land(loop, Regime.HARMFUL_SHIFT, 2, 3)
            assert "its rollout is SHADOW" in loop.ticks[-2]
        yield folder


@pytest.fixture
def loop(opened_before: Path, tmp_path: Path) -> Iterator[InProcessLoop]:
    """Over a copy of that home, and of its Dagster."""
    shutil.copytree(opened_before, tmp_path, dirs_exist_ok=True)
    services = Services(tmp_path / "home", clock=Clock())
    services.notifier = InMemoryNotifier()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield InProcessLoop(services, SPEC, instance)


@pytest.fixture
def server(loop: InProcessLoop) -> Iterator[FakeServer]:
    with serving(loop.services, SPEC) as fake:
        yield fake


def healed(loop: InProcessLoop) -> Incident:
    """The incident that version 2 was made for."""
    cases = story.case_files(loop.services, SPEC)
    return next(case.incident for case in cases if case.incident.cause is Cause.HARMFUL_DRIFT)


def moved_on(loop: InProcessLoop, server: FakeServer, seed: int, **counted: Any) -> RolloutState:
    """Requests, time, and a tick."""
    server.serve(ENOUGH, seed=seed, **counted)
    forward(loop, minutes=6)
    loop.tick("rollout_sensor")
    return standing(loop).state


def to_bake(loop: InProcessLoop, server: FakeServer) -> None:
    for seed in range(3):
        moved_on(loop, server, seed)
    assert standing(loop).state is S.BAKE


def test_it_is_opened_instead_of_the_alias_moved(loop: InProcessLoop) -> None:
    rollout = standing(loop)
    assert (rollout.state, rollout.champion, rollout.challenger) == (S.SHADOW, "1", "2")
    assert aliases(loop) == ("1", None)
    assert outcome(loop) is None
    incident = healed(loop)
    assert (incident.state, incident.tried[-1].decision_id) == (IncidentState.HEALING, rollout.id)
    before = loop.services.ledger.head()
    assert loop.tick("drift_sensor") == []
    assert "its rollout is SHADOW" in loop.ticks[-1]
    assert loop.run("retrain", tags={"selfheal/decision": rollout.id}), "a run of it that is launched again changes"
    assert (standing(loop), aliases(loop), loop.services.ledger.head()) == (rollout, ("1", None), before)


def test_a_sound_challenger_reaches_everybody(loop: InProcessLoop, server: FakeServer) -> None:
    assert server.traffic.weight == 0.0
    assert moved_on(loop, server, 0) is S.STEP
    assert (server.traffic.challenger, server.traffic.weight) == ("2", 0.5)
    assert loop.tick("rollout_sensor") == [], "nothing new was counted"
    assert moved_on(loop, server, 1) is S.STEP
    assert server.traffic.weight == 1.0
    assert aliases(loop) == ("1", None), "it answers everybody on trial"
    server.serve(ENOUGH, seed=2)
    forward(loop, minutes=6)
    (run,) = loop.tick("rollout_sensor")
    assert standing(loop).state is S.BAKE
    assert (server.traffic.champion, server.traffic.standby) == ("2", "1")
    assert aliases(loop) == ("2", "1")
    assert loop.services.batches.read_document("payments", "reference-2") is not None
    assert outcome(loop) is None
    assert healed(loop).state is IncidentState.HEALING
    assert loop.tick("rollout_sensor") == loop.tick("drift_sensor") == [], "the bake is not over"
    assert moved_on(loop, server, 3) is S.PROMOTED
    ended = outcome(loop)
    assert ended is not None
    assert (ended.status, ended.payload["version"], ended.payload["previous_version"]) == ("PROMOTED", "2", "1")
    loop.settle()
    assert healed(loop).state is IncidentState.VERIFYING
    assert loop.tick("rollout_sensor") == []
    assert server.traffic.challenger is server.traffic.standby is None
    shown = loop.instance.get_latest_materialization_event(dg.AssetKey(["payments", "rollout"]))
    assert shown is not None
    told = shown.asset_materialization.metadata if shown.asset_materialization else {}
    assert told["state"].value == "PROMOTED"
    states = [record.data["state"] for record in told["steps"].value.records]
    assert states == ["SHADOW", "STEP", "STEP", "BAKE", "PROMOTED"]
    assert {record.data["gate"] for record in told["gates"].value.records} == {"errors", "slow", "scores"}
    assert loop.instance.get_run_by_id(run).tags["selfheal/rollout"] == f"{standing(loop).id}-bake"


def assert_rejected(loop: InProcessLoop) -> None:
    """Taken back, and the incident goes on to what comes next."""
    rollout, ended = standing(loop), outcome(loop)
    assert rollout.rejected
    assert aliases(loop)[0] == "1"
    assert ended is not None
    assert (ended.status, ended.payload["result"]) == (OutcomeStatus.REFUSED, Result.REFUSED)
    tags = next(v for v in loop.services.registry.versions("payments") if v.version == "2").tags
    assert tags["verdict"] == "REJECTED"
    (release,) = (case for case in story.case_files(loop.services, SPEC) if case.incident.cause is Cause.BAD_RELEASE)
    states = [i.state for i in release.transitions]
    assert states == [IncidentState.OPEN, IncidentState.DIAGNOSED, IncidentState.ROLLED_BACK]
    assert [e.signal for e in release.evidence] == [Signal.RELEASE]
    assert release.incident.champion_version == "2"
    assert "ROLLED_BACK" in case_markdown(release, {})
    notices = loop.services.notifier.notices
    assert [n.incident for n in notices if n.title == "bad release: taken back"] == [release.incident.id]
    loop.tick("drift_sensor")
    incident = healed(loop)
    assert incident.tried[0].result is Result.REFUSED
    assert incident.state in (IncidentState.SUPPRESSED, IncidentState.HEALING, IncidentState.ESCALATED)
    assert replay(loop.services.ledger, [SPEC]).differences == []


def test_a_bad_one_is_taken_back_in_the_shadow(loop: InProcessLoop, server: FakeServer) -> None:
    server.serve(ENOUGH, failing="2", share=0.3)
    (run,) = loop.tick("rollout_sensor")
    assert standing(loop).state is S.ABORTED
    assert loop.instance.get_run_by_id(run).is_success
    assert_rejected(loop)
    assert loop.tick("rollout_sensor") == []
    assert server.traffic.challenger is None
    decision = loop.services.ledger.newest("payments", RecordKind.DECISION, subject=standing(loop).id)[0]
    frame = frame_of(loop.services, SPEC, decision)
    _, tried, _ = best_archived(loop.services, SPEC, frame)
    assert "2" not in {one.version.version for one in tried}, "it is not tried again"


def test_a_bad_one_is_taken_back_in_the_bake(loop: InProcessLoop, server: FakeServer) -> None:
    """The servers are back by the record alone, before any run."""
    to_bake(loop, server)
    assert aliases(loop) == ("2", "1")
    server.serve(ENOUGH, failing="2", share=0.3, seed=9)
    loop._execute = lambda *_: "never"  # type: ignore[method-assign]
    assert loop.tick("rollout_sensor") == ["never"]
    assert standing(loop).state is S.ABORTED
    assert aliases(loop) == ("2", "1")
    assert (server.traffic.champion, server.traffic.challenger) == ("1", None)
    del loop._execute
    loop.tick("rollout_sensor")
    assert_rejected(loop)


def killed_in(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """The next run dies at this call."""

    def dies(*_: Any, **__: Any) -> None:
        monkeypatch.undo()
        raise ConnectionError("killed")

    monkeypatch.setattr(place, dies)


@pytest.mark.parametrize(
    "place",
    [
        "selfheal_assets.stages.promote.promote",
        "selfheal_assets.stages.succession._reference",
        "selfheal_assets.adapters.batch_store.FileBatchStore.write_document",
    ],
)
def test_a_run_killed_at_the_release_is_done_again(
    loop: InProcessLoop, server: FakeServer, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    moved_on(loop, server, 0)
    moved_on(loop, server, 1)
    killed_in(monkeypatch, place)
    to_bake_once = moved_on(loop, server, 2)
    assert to_bake_once is S.BAKE
    assert moved_on(loop, server, 3) is S.BAKE, "it does not end before the alias has moved"
    forward(loop, hours=1)
    loop.tick("rollout_sensor")
    assert aliases(loop) == ("2", "1")
    assert moved_on(loop, server, 4) is S.PROMOTED
    ended = outcome(loop)
    assert ended is not None
    assert ended.status == OutcomeStatus.PROMOTED


@pytest.mark.parametrize(
    "place",
    [
        "selfheal_assets.adapters.mlflow_registry.MlflowRegistry.move_alias",
        "selfheal_assets.adapters.mlflow_registry.MlflowRegistry.tag",
        "selfheal_assets.stages.rollout_course.close",
    ],
)
def test_a_run_killed_at_the_way_back_is_done_again(
    loop: InProcessLoop, server: FakeServer, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    to_bake(loop, server)
    killed_in(monkeypatch, place)
    server.serve(ENOUGH, failing="2", share=0.3, seed=9)
    loop.tick("rollout_sensor")
    assert loop.tick("rollout_sensor") == [], "not at once"
    assert outcome(loop) is None
    forward(loop, hours=2)
    loop.tick("rollout_sensor")
    loop.services.notifier.notices[:] = loop.services.notifier.notices[-1:]
    assert_rejected(loop)
    assert loop.run("rollout"), "once more, by hand, changes nothing"
    assert aliases(loop)[0] == "1"


def test_what_cannot_be_released_is_taken_back(
    loop: InProcessLoop, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved_on(loop, server, 0)
    moved_on(loop, server, 1)
    with monkeypatch.context() as broken:
        broken.setattr("selfheal_assets.stages.promote.promote", lambda *_: 1 / 0)
        for seed in range(2, 5):
            moved_on(loop, server, seed)
    assert standing(loop).state is S.ABORTED
    assert server.traffic.champion == "1"
    loop.tick("rollout_sensor")
    ended = outcome(loop)
    assert ended is not None
    assert ended.payload["result"] == Result.FAILED
    assert "its run" in ended.payload["reason"]


def test_a_person_holds_it_lets_it_go_on_and_ends_it(loop: InProcessLoop, server: FakeServer) -> None:
    ledger = loop.services.ledger
    rollouts.pause(ledger, SPEC, "ada", loop.services.clock.now())
    assert moved_on(loop, server, 0) is S.SHADOW
    with pytest.raises(RolloutError, match="under way and not paused"):
        rollouts.pause(ledger, SPEC, "ada", loop.services.clock.now())
    rollouts.resume(ledger, SPEC, "ada", loop.services.clock.now())
    assert moved_on(loop, server, 1) is S.STEP
    with pytest.raises(RolloutError, match="must say why"):
        rollouts.abort(ledger, SPEC, "ada", " ", loop.services.clock.now())
    rollouts.abort(ledger, SPEC, "ada", "a holiday", loop.services.clock.now())
    assert server.traffic.challenger is None
    loop.tick("rollout_sensor")
    ended = outcome(loop)
    assert ended is not None
    assert ended.payload["result"] == Result.DECLINED
    assert not standing(loop).rejected
    assert not [c for c in story.case_files(loop.services, SPEC) if c.incident.cause is Cause.BAD_RELEASE]
    loop.tick("drift_sensor")
    assert healed(loop).tried[0].result is Result.DECLINED
    with pytest.raises(RolloutError, match="must be under way"):
        rollouts.abort(ledger, SPEC, "ada", "again", loop.services.clock.now())


def registered_beside(loop: InProcessLoop) -> None:
    """A person puts the alias on a third version: version 1, registered once more."""
    registry = loop.services.registry
    first = next(v for v in registry.versions("payments") if v.version == "1")
    import mlflow

    client = mlflow.MlflowClient(loop.services.tracking_uri)
    source = client.get_model_version("payments", "1").source
    client.create_model_version("payments", source, first.run_id)
    serving_now = registry.by_alias("payments", "champion")
    assert serving_now is not None
    registry.move_alias("payments", "champion", "3", expected=serving_now.version)


def test_a_champion_that_a_person_moved_ends_it(loop: InProcessLoop, server: FakeServer) -> None:
    moved_on(loop, server, 0)
    registered_beside(loop)
    assert moved_on(loop, server, 1) is S.ABORTED
    assert "moved to version 3" in standing(loop).reason
    assert aliases(loop)[0] == "3", "a person's word stands"
    ended = outcome(loop)
    assert ended is not None
    assert ended.payload["result"] == Result.DECLINED


def test_a_champion_that_a_person_moved_at_the_end_is_left(loop: InProcessLoop, server: FakeServer) -> None:
    to_bake(loop, server)
    loop.services.registry.move_alias("payments", "champion", "1", expected="2")
    assert moved_on(loop, server, 5) is S.PROMOTED
    assert aliases(loop)[0] == "1"
    ended = outcome(loop)
    assert ended is not None
    assert (ended.status, ended.payload["result"]) == (OutcomeStatus.REFUSED, Result.DECLINED)


def test_a_rollback_by_hand_ends_it(loop: InProcessLoop, server: FakeServer) -> None:
    to_bake(loop, server)
    config = {"ops": {"payments__rollback": {"config": {"reason": "complaints"}}}}
    assert loop.run("rollback", run_config=config)
    assert (standing(loop).state, standing(loop).ended_by) == (S.ABORTED, "a rollback")
    assert server.traffic.champion == "1"
    assert aliases(loop)[0] == "1"
    loop.tick("rollout_sensor")
    ended = outcome(loop)
    assert ended is not None
    assert ended.payload["result"] == Result.DECLINED


def test_a_second_one_waits_for_the_end_of_the_first(loop: InProcessLoop) -> None:
    before = standing(loop)
    assert not loop.run("retrain")
    assert standing(loop) == before
    assert aliases(loop) == ("1", None)


def test_servers_that_do_not_answer_hold_it_until_its_time_is_over(loop: InProcessLoop, server: FakeServer) -> None:
    server.down = True
    assert moved_on(loop, server, 0) is S.SHADOW
    assert "no answer from http://127.0.0.1" in loop.ticks[-1]
    forward(loop, hours=SPEC.rollout.max_hours)
    loop.tick("rollout_sensor")
    assert standing(loop).state is S.ABORTED
    ended = outcome(loop)
    assert ended is not None
    assert ended.payload["result"] == Result.REFUSED
    assert "not decided within 24 hours" in ended.payload["reason"]


def test_a_server_that_restarts_begins_the_period_anew(loop: InProcessLoop, server: FakeServer) -> None:
    moved_on(loop, server, 0)
    server.serve(100)
    server.restart()
    server.serve(10)
    loop.tick("rollout_sensor")
    assert "began anew" in standing(loop).reason
    assert moved_on(loop, server, 1) is S.STEP
    assert server.traffic.weight == 1.0


def labelled(loop: InProcessLoop, rows: pd.DataFrame, name: str, *, by: str) -> None:
    """The rows land as a batch of answers; the label is 1 where `by` was surest, for a quarter of them."""
    frame = WORLD.batch(50, len(rows), Regime.HEALTHY)
    frame[SPEC.data.event_id] = rows[SPEC.data.event_id].to_numpy()
    frame[SPEC.data.label] = (rows[f"selfheal_{by}_score"] > 0.75).astype(int).to_numpy()
    answers = rows.drop(columns=SPEC.data.event_id).set_index(frame.index)
    drop(pd.concat([frame, answers], axis=1), loop.services.batches.landing("payments"), name)


def test_labels_of_served_rows_fail_a_worse_one(loop: InProcessLoop, server: FakeServer) -> None:
    for number in range(2):
        labelled(loop, server.serve(400, seed=number), f"served-{number}.parquet", by="champion")
    loop.tick("arrivals")
    loop.tick("rollout_sensor")
    assert standing(loop).state is S.ABORTED
    assert "quality" in standing(loop).reason
    assert "on the same 800 labelled rows" in standing(loop).reason
    assert_rejected(loop)


def test_rows_of_another_rollout_do_not_count(loop: InProcessLoop, server: FakeServer) -> None:
    rows = server.serve(400).assign(selfheal_rollout="another")
    labelled(loop, rows, "served.parquet", by="champion")
    loop.tick("arrivals")
    loop.tick("rollout_sensor")
    assert standing(loop).state is S.SHADOW
    assert "0 labelled rows" in loop.ticks[-1]


def test_the_watchdog_does_not_call_it_stalled(loop: InProcessLoop) -> None:
    later = loop.services.clock.now() + timedelta(hours=SPEC.policy.stalled_incident_hours + 1)

    def findings() -> list[str]:
        facts = Facts(incidents=incident_facts(loop.services.ledger, SPEC, later))
        return [finding.fault for finding in watch(SPEC.policy, facts)]

    assert findings() == []
    rollouts.abort(loop.services.ledger, SPEC, "ada", "enough", loop.services.clock.now())
    assert findings() == ["incident stalled"]


def test_a_tick_is_short(loop: InProcessLoop, server: FakeServer) -> None:
    from time import perf_counter

    server.serve(2_000)
    loop.tick("rollout_sensor")
    begun = perf_counter()
    loop.tick("rollout_sensor")
    assert perf_counter() - begun < 1.0
    assert len(transitions_of(loop.services.ledger, SPEC, standing(loop).id)) == 2
