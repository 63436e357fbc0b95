"""What live traffic met, measured from answers, ledger and log; every goal that is missed is named."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from servers import Redis

from selfheal_assets.adapters.feast_stores import redis_words
from selfheal_assets.adapters.online_store_away import STORE
from selfheal_assets.adapters.redis_client import redis_client
from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.gates import Verdict
from selfheal_assets.core.rollout import opened
from selfheal_assets.core.rollout_state import Rollout, RolloutState
from selfheal_assets.operations.demo_measured import Chaos, measured
from selfheal_assets.operations.demo_report import served_table
from selfheal_assets.operations.demo_served import Served
from selfheal_assets.operations.demo_traffic import Answered, Failed, LivePayments, LiveTraffic
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.serving.client import Answer
from selfheal_assets.settings import Settings
from selfheal_assets.simulator.payments import PaymentsWorld, Regime
from selfheal_assets.wiring import Services

SPEC = load_spec(PROJECT / MODELS / "payments" / "defs.yaml")
BEGAN = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
T0 = BEGAN.timestamp()


def course(rollout_id: str, champion: str, challenger: str, way: list[tuple[float, RolloutState]]) -> list[Rollout]:
    """Transitions at so many seconds after the beginning."""
    first = opened(
        SPEC.rollout,
        decision_id=rollout_id,
        model=SPEC.name,
        champion=champion,
        challenger=challenger,
        now=BEGAN + timedelta(seconds=way[0][0]),
    )
    found = [first]
    for seconds, state in way[1:]:
        verdict = Verdict.FAIL if state is RolloutState.ABORTED else Verdict.PASS
        now = BEGAN + timedelta(seconds=seconds)
        found.append(found[-1].to(state, "a reason", now, verdict=verdict))
    return found


GOOD = course(
    "good",
    "1",
    "2",
    [(10, RolloutState.SHADOW), (20, RolloutState.STEP), (30, RolloutState.BAKE), (40, RolloutState.PROMOTED)],
)
BAD = course("bad", "2", "3", [(50, RolloutState.SHADOW), (55, RolloutState.STEP), (70, RolloutState.ABORTED)])


def answered(number: int, second: float, version: str, level: str = "live") -> Answered:
    answer = Answer(event_id=f"e{number}", score=0.1, version=version, level=level)
    return Answered(sent=T0 + second, received=T0 + second + 0.01, answers=(answer,))


TOLD = [
    answered(0, 5, "1"),
    answered(1, 25, "2"),
    answered(2, 45, "2"),
    answered(3, 60, "3"),
    answered(4, 71, "3"),
    answered(5, 85, "2", "cached"),
    answered(6, 95, "2", "default"),
    answered(7, 103, "2"),
    answered(8, 109.9, "2"),
    answered(9, 114, "2"),
]
CHAOS = Chaos(
    bad_rollout="bad",
    store_went=T0 + 80,
    store_came=T0 + 100,
    killed_at=T0 + 110,
    killed_pid=11,
    successor=12,
)


@pytest.fixture
def services(home: Path) -> Services:
    found = Services(home)
    home.mkdir()
    found.ledger.initialise()
    found.ledger.append(*[one.to_record() for one in (*GOOD, *BAD)])
    return found


def log(services: Services, events: list[str], torn: str = "") -> None:
    folder = services.home / "serving" / SPEC.name / "log"
    folder.mkdir(parents=True)
    lines = [json.dumps({"event": {"payment_id": event}, "features": {}}) for event in events]
    (folder / "one.jsonl").write_text("\n".join(lines) + "\n" + torn, encoding="utf-8")


def found(services: Services, failed: list[Failed]) -> Served:
    traffic = LiveTraffic("http://127.0.0.1:1", LivePayments(PaymentsWorld()))
    traffic.answered, traffic.failed = list(TOLD), failed
    return measured(services, SPEC, traffic, CHAOS, [])


def test_it_is_measured_from_what_clients_saw(services: Services) -> None:
    log(services, [f"e{number}" for number in range(10) if number not in (1, 8)] + ["under-way"], torn='{"event')
    in_the_kill = Failed(sent=T0 + 111, given_up=T0 + 131, reason="no answer")
    served = found(services, [in_the_kill])
    assert (served.requests, served.failed, served.rows, served.champion) == (10, 1, 10, "2")
    assert (served.good.states, served.good.rows_answered) == (["SHADOW", "STEP", "BAKE", "PROMOTED"], 1)
    assert (served.bad.states, served.bad.verdict, served.exposed) == (["SHADOW", "STEP", "ABORTED"], "FAIL", 2)
    assert (served.taken.first_to_last_s, served.taken.verdict_to_last_s) == (11.0, 1.01)
    assert (served.store.answered, served.store.levels) == (2, {"cached": 1, "default": 1})
    assert served.store.live_again_s == 3.0
    assert (served.killed.silent_s, served.killed.failed) == (4.0, 1)
    assert (served.logged.missing, served.logged.in_commit_window, served.logged.unanswered) == (1, 1, 1)
    assert served_table(served).row_count == 12
    assert json.loads(json.dumps(served.as_json()))["exposed_to_bad"] == 2


WELL = {"bad_release": ["ROLLED_BACK"], "feature_store_fault": ["RESOLVED"], "serving_fault": ["RESOLVED"]}


@pytest.fixture
def well(services: Services) -> Served:
    log(services, [f"e{number}" for number in range(10)])
    return replace(found(services, []), incidents=WELL)


def test_without_a_fault_no_goal_is_missed(well: Served) -> None:
    assert well.failures() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: replace(s, failed=1), "no request fails outside the killed second: 1 of 11 did"),
        (lambda s: replace(s, good=replace(s.good, states=["SHADOW", "ABORTED"])), "SHADOW -> ABORTED"),
        (lambda s: replace(s, bad=replace(s.bad, states=["SHADOW", "BAKE", "PROMOTED"])), "takes the bad release back"),
        (lambda s: replace(s, bad=replace(s.bad, verdict="INCONCLUSIVE")), "takes the bad release back"),
        (lambda s: replace(s, champion="3"), "version 2 answers in the end: 3 does"),
        (lambda s: replace(s, store=replace(s.store, failed=1)), "without a feature store every request is answered"),
        (lambda s: replace(s, store=replace(s.store, answered=0)), "without a feature store every request is answered"),
        (lambda s: replace(s, store=replace(s.store, live_again_s=None)), "live features come back"),
        (lambda s: replace(s, killed=replace(s.killed, successor=11)), "a new process takes"),
        (lambda s: replace(s, killed=replace(s.killed, successor=None)), "a new process takes"),
        (lambda s: replace(s, logged=replace(s.logged, missing=3)), "every answer is in the log: 3 of 10 are not"),
        (lambda s: replace(s, incidents=WELL | {"bad_release": []}), "an incident that was rolled back"),
        (lambda s: replace(s, incidents=WELL | {"serving_fault": []}), "the serving_fault is healed"),
        (lambda s: replace(s, incidents=WELL | {"feature_store_fault": ["ESCALATED"]}), "the feature_store_fault"),
    ],
)
def test_each_goal_that_is_missed_is_named(well: Served, change: Callable[[Served], Served], words: str) -> None:
    (missed,) = change(well).failures()
    assert words in missed


def test_the_feature_store_comes_back_whatever_happens(home: Path) -> None:
    store = home / STORE
    store.parent.mkdir(parents=True)
    store.write_text("rows")
    store.with_name("online.db-wal").write_text("newer rows")
    seen = list[bool]()

    def interrupted() -> None:
        with Services(home).online_store_away(10):
            seen.extend(file.exists() for file in (store, store.with_name("online.db-wal")))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert seen == [False, False]
    assert (store.read_text(), store.with_name("online.db-wal").read_text()) == ("rows", "newer rows")


def test_redis_answers_nobody_for_so_long(home: Path, redis: Redis) -> None:
    services = Services(home, settings=Settings(home=home, online_store_url=redis.url()))
    with closing(redis_client(redis_words(redis.url()))) as client:
        client.ping()
        begun = time.monotonic()
        with services.online_store_away(0.5):
            client.ping()
    assert time.monotonic() - begun >= 0.4


def test_live_payments_follow_the_world_and_are_never_the_same() -> None:
    payments = LivePayments(PaymentsWorld(seed=3))
    usual = [row for _ in range(120) for row in payments.take(8)]
    payments.becomes(Regime.HARMFUL_SHIFT)
    moved = [row for _ in range(120) for row in payments.take(8)]
    assert len({row["payment_id"] for row in usual + moved}) == len(usual + moved)
    shares = [sum(row["channel"] == "app" for row in rows) / len(rows) for rows in (usual, moved)]
    assert shares[1] > shares[0] + 0.2
    assert {row["is_fraud"] for row in usual} == {0, 1}
    assert "event_timestamp" not in usual[0]
    assert any(row["original_payment_id"] is None for row in usual)
