"""What the core makes of a model's life: stories first, then what holds in every life."""

from dataclasses import replace
from datetime import timedelta

from brain import Life, spec
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal_assets.core.causes import ON_SERVERS, TOUCHES_PRODUCTION, Action, Cause
from selfheal_assets.core.evidence import Signal, Status
from selfheal_assets.core.incident import IncidentState, OutcomeStatus, Result
from selfheal_assets.core.model_spec import CostSpec
from selfheal_assets.core.reconcile import reconcile
from selfheal_assets.core.record import RecordKind

CLEAR, RAISED, UNKNOWN = Status.CLEAR, Status.RAISED, Status.UNKNOWN
WELL = {"quality": CLEAR, "drift": CLEAR, "performance": CLEAR}
HARMED = {"quality": CLEAR, "drift": RAISED, "performance": RAISED}


def harmed(life: Life) -> Life:
    return life.see(**WELL).see(**HARMED).see(**HARMED)


def test_a_healthy_life_has_no_incident() -> None:
    life = Life(spec()).see(**WELL).see(**WELL)
    assert not life.incidents
    assert not life.decisions()


def test_doubt_is_open_then_named_then_healed_then_verified() -> None:
    life = Life(spec()).see(**WELL).see(**HARMED)
    assert life.state(Cause.UNKNOWN) is IncidentState.OPEN
    assert not life.decisions()
    life.see(**HARMED)
    incident = life.incidents[Cause.HARMFUL_DRIFT]
    assert incident.state is IncidentState.HEALING
    assert incident.batch_ids == ("b002", "b003")
    assert [a.action for a in incident.tried] == [Action.REINSTATE]
    life.refuse("none fits").settle()
    assert [a.action for a in life.healing.tried] == [Action.REINSTATE, Action.RETRAIN]
    life.promote("2").settle()
    assert life.state(Cause.HARMFUL_DRIFT) is IncidentState.VERIFYING
    life.see(**WELL).settle()
    ended = life.incidents[Cause.HARMFUL_DRIFT]
    assert ended.state is IncidentState.RESOLVED
    assert [a.result for a in ended.tried] == [Result.NONE_FITS, Result.VERIFIED]
    assert ended.before == 0.9
    assert ended.after == 0.3
    assert not life.situation().open


def test_benign_drift_is_watched_until_it_clears() -> None:
    life = Life(spec()).see(**WELL).see(**{**WELL, "drift": RAISED}).see(**{**WELL, "drift": RAISED})
    assert life.state(Cause.BENIGN_DRIFT) is IncidentState.VERIFYING
    assert [d.payload["action"] for d in life.decisions()] == [Action.NOTHING]
    for _ in range(3):
        life.see(**WELL)
    assert life.state(Cause.BENIGN_DRIFT) is IncidentState.RESOLVED


def test_harmless_drift_that_turns_harmful_is_taken_for_that() -> None:
    life = Life(spec()).see(**WELL).see(**{**WELL, "drift": RAISED}).see(**HARMED).see(**HARMED).settle()
    assert life.state(Cause.HARMFUL_DRIFT) is IncidentState.HEALING
    assert life.state(Cause.BENIGN_DRIFT) is IncidentState.RESOLVED


def test_a_broken_batch_is_bad_data_whatever_else_it_shows() -> None:
    life = Life(spec()).see(**WELL)
    life.see(quality=RAISED, drift=RAISED, performance=RAISED).see(quality=RAISED, drift=RAISED, performance=RAISED)
    assert set(life.incidents) == {Cause.BAD_DATA}
    assert not life.decisions(*TOUCHES_PRODUCTION)
    life.see(**WELL).settle()
    assert life.state(Cause.BAD_DATA) is IncidentState.RESOLVED


def test_a_broken_batch_among_good_ones_of_one_tick_is_not_missed() -> None:
    life = Life(spec()).see(**WELL)
    life.arrive(quality=RAISED)
    life.arrive(**WELL)
    life.settle()
    assert life.incidents[Cause.BAD_DATA].batch_ids == ("b002",)
    assert life.state(Cause.BAD_DATA) is IncidentState.RESOLVED
    assert len([d for d in life.decisions() if d.payload["cause"] == Cause.BAD_DATA]) == 1


def test_a_feed_that_is_always_a_little_broken_still_heals() -> None:
    broken = {**HARMED, "quality": RAISED}
    life = Life(spec()).see(**WELL)
    for _ in range(3):
        life.see(**broken)
    assert life.state(Cause.HARMFUL_DRIFT) is IncidentState.HEALING


def test_harm_without_drift_is_a_changed_concept_and_with_a_moved_share_of_labels_a_prior_shift() -> None:
    concept = {"drift": CLEAR, "performance": RAISED}
    assert Life(spec()).see(**concept).see(**concept).state(Cause.CONCEPT_DRIFT) is IncidentState.HEALING
    prior = {"drift": RAISED, "performance": RAISED, "prior": RAISED, "conditional": CLEAR}
    life = Life(spec()).see(**prior).see(**prior)
    assert life.state(Cause.PRIOR_SHIFT) is IncidentState.HEALING
    assert life.healing.tried[-1].action is Action.RECALIBRATE
    assert Cause.HARMFUL_DRIFT not in life.incidents


def test_the_sequential_test_needs_no_persistence() -> None:
    life = Life(spec()).see(drift=CLEAR, performance=CLEAR, risk=RAISED)
    assert life.state(Cause.CONCEPT_DRIFT) is IncidentState.HEALING


def test_estimated_performance_stands_in_where_labels_have_not_come() -> None:
    waiting = {"drift": RAISED, "performance": UNKNOWN, "estimated_performance": CLEAR}
    assert Life(spec()).see(**waiting).see(**waiting).state(Cause.BENIGN_DRIFT) is IncidentState.VERIFYING
    poor = {**waiting, "estimated_performance": RAISED}
    assert Life(spec()).see(**poor).see(**poor).state(Cause.HARMFUL_DRIFT) is IncidentState.HEALING


def test_strong_drift_of_unknown_effect_is_acted_on_and_weak_drift_is_not() -> None:
    strong = {"drift": (RAISED, 0.9), "performance": UNKNOWN}
    weak = {"drift": (RAISED, 0.3), "performance": UNKNOWN}
    assert Life(spec()).see(**strong).see(**strong).state(Cause.HARMFUL_DRIFT) is IncidentState.HEALING
    assert Life(spec()).see(**weak).see(**weak).state(Cause.UNKNOWN) is IncidentState.OPEN


def test_a_bad_release_is_taken_back_while_its_healing_is_verified() -> None:
    life = harmed(Life(spec())).refuse("none fits").settle().promote("2").settle()
    life.see(drift=CLEAR, performance=RAISED, release=RAISED)
    assert life.state(Cause.BAD_RELEASE) is IncidentState.HEALING
    assert life.healing.tried[-1].action is Action.ROLLBACK
    life.outcome(life.healing.tried[-1].decision_id, OutcomeStatus.ROLLED_BACK, version="1").settle()
    assert [i.state for i in life.every(Cause.HARMFUL_DRIFT)] == [IncidentState.ROLLED_BACK, IncidentState.DIAGNOSED]
    assert life.state(Cause.BAD_RELEASE) is IncidentState.VERIFYING
    life.see(**WELL).settle()
    assert life.state(Cause.BAD_RELEASE) is IncidentState.RESOLVED


def test_what_fails_is_followed_by_the_next_alternative_then_escalated() -> None:
    life = harmed(Life(spec(retries=1))).refuse("none fits").settle()
    life.refuse().settle()
    assert life.state(Cause.HARMFUL_DRIFT) is IncidentState.SUPPRESSED
    assert life.incidents[Cause.HARMFUL_DRIFT].hold == "no_new_data"
    life.see(**HARMED).settle().refuse().settle()
    assert life.state(Cause.HARMFUL_DRIFT) is IncidentState.ESCALATED
    before = len(life.decisions())
    life.see(**HARMED).see(**HARMED).settle()
    assert len(life.decisions()) == before
    for _ in range(3):
        life.see(**WELL)
    assert life.state(Cause.HARMFUL_DRIFT) is IncidentState.RESOLVED


def test_a_heal_that_does_not_show_is_not_verified() -> None:
    life = harmed(Life(spec(verify_batches=2))).refuse("none fits").settle().promote("2").settle()
    life.see(**HARMED).see(**HARMED).settle()
    assert [a.result for a in life.incidents[Cause.HARMFUL_DRIFT].tried][:2] == [Result.NONE_FITS, Result.NOT_VERIFIED]


def test_failures_raise_the_bar_and_then_take_the_autonomy() -> None:
    life = harmed(Life(spec(retries=0))).refuse("none fits").settle().refuse().settle()
    assert life.state(Cause.HARMFUL_DRIFT) is IncidentState.ESCALATED
    for _ in range(3):
        life.see(**WELL)
    life.settle().see(**HARMED).see(**HARMED).settle()
    held = life.incidents[Cause.HARMFUL_DRIFT]
    assert (held.state, held.hold) == (IncidentState.SUPPRESSED, "evidence")
    assert "3 are needed after 1 failed heals in a row" in held.reason
    life.see(**HARMED).settle()
    assert life.state(Cause.HARMFUL_DRIFT) is IncidentState.HEALING


def test_recommend_waits_for_a_person_and_for_no_longer_than_declared() -> None:
    life = harmed(Life(spec(autonomy="recommend", approval_hours=5.0)))
    incident = life.incidents[Cause.HARMFUL_DRIFT]
    assert (incident.state, incident.hold) == (IncidentState.SUPPRESSED, "approval")
    decision = incident.tried[-1].decision_id
    assert not life.situation().heals
    life.say(RecordKind.APPROVAL, decision, "APPROVED").settle()
    assert life.state(Cause.HARMFUL_DRIFT) is IncidentState.HEALING
    assert [heal.decision.subject for heal in life.situation().heals] == [decision]

    rejected = harmed(Life(spec(autonomy="recommend")))
    decision = rejected.incidents[Cause.HARMFUL_DRIFT].tried[-1].decision_id
    rejected.say(RecordKind.APPROVAL, decision, "REJECTED").settle()
    assert rejected.state(Cause.HARMFUL_DRIFT) is IncidentState.ESCALATED

    forgotten = harmed(Life(spec(autonomy="recommend", approval_hours=5.0)))
    forgotten.now += timedelta(hours=5)
    forgotten.settle()
    assert forgotten.state(Cause.HARMFUL_DRIFT) is IncidentState.ESCALATED
    forgotten.say(RecordKind.APPROVAL, decision, "APPROVED").settle()
    assert not forgotten.situation().heals


def test_flags_hold_and_let_go() -> None:
    for model in ("m", "*"):
        for action in ("*", "reinstate"):
            life = Life(spec()).say(RecordKind.FLAG, action, "OFF", model)
            harmed(life)
            assert life.incidents[Cause.HARMFUL_DRIFT].hold == "flag"
            life.say(RecordKind.FLAG, action, "ON", model).settle()
            assert life.state(Cause.HARMFUL_DRIFT) is IncidentState.HEALING


def test_cooldown_budget_cost_and_observe_hold_each_by_its_name() -> None:
    observed = harmed(Life(spec(autonomy="observe")))
    assert observed.incidents[Cause.HARMFUL_DRIFT].hold == "autonomy"
    dear = replace(spec(), cost=CostSpec(value_per_unit_day=1.0, horizon_days=1.0, per_heal=100.0))
    held = harmed(Life(dear)).incidents[Cause.HARMFUL_DRIFT]
    assert held.hold == "cost"
    assert "expected loss 0.60 = drop 0.6000 x 1 a day x 1 days; cost 100.00" in held.reason
    for policy, hold in ((spec(heals_per_day=1), "budget"), (spec(cooldown_minutes=600.0), "cooldown")):
        life = harmed(Life(policy)).promote("2").settle().see(**WELL).settle()
        assert life.state(Cause.HARMFUL_DRIFT) is IncidentState.RESOLVED
        life.see(**HARMED).see(**HARMED).settle()
        assert life.incidents[Cause.HARMFUL_DRIFT].hold == hold


def test_the_first_model_is_learned_once_there_is_enough() -> None:
    life = Life(spec(), champion=None)
    life.see(quality=CLEAR)
    assert not life.decisions()
    life.see(quality=CLEAR)
    assert [d.payload["cause"] for d in life.decisions()] == [Cause.NO_CHAMPION]
    life.see(quality=CLEAR)
    assert len(life.decisions()) == 1
    life.outcome(life.decisions()[0].subject, OutcomeStatus.REFUSED).settle()
    assert len(life.decisions()) == 2


signals = st.dictionaries(
    st.sampled_from([s.value for s in Signal if s not in (Signal.PROMOTION,)]),
    st.tuples(st.sampled_from(list(Status)), st.floats(0.0, 1.0)),
    max_size=6,
)
happenings = st.one_of(
    signals.map(lambda statuses: ("see", statuses)),
    st.sampled_from([("promote", None), ("refuse", None), ("fail", None), ("wait", None)]),
)


def live(life: Life, story: list[tuple[str, object]]) -> Life:
    for number, (what, said) in enumerate(story):
        under_way = [heal for heal in life.situation().heals if heal.outcome is None]
        if what == "see":
            life.see(**said)  # type: ignore[arg-type]
        elif what == "wait":
            life.now += timedelta(hours=6)
            life.step()
        elif under_way:
            status = {"promote": OutcomeStatus.PROMOTED, "refuse": OutcomeStatus.REFUSED}.get(
                what, OutcomeStatus.FAILED
            )
            done = {Action.ROLLBACK: OutcomeStatus.ROLLED_BACK, Action.RESTART: OutcomeStatus.RESTARTED}
            if status is OutcomeStatus.PROMOTED:
                status = done.get(under_way[0].action, status)
            life.outcome(under_way[0].decision.subject, status, version=str(number + 2), result=None)
            life.step()
    return life


@settings(max_examples=150, deadline=None)
@given(st.lists(happenings, max_size=12), st.sampled_from(["observe", "recommend", "heal"]))
def test_in_every_life(story: list[tuple[str, object]], autonomy: str) -> None:
    life = live(Life(spec(autonomy=autonomy, heals_per_day=2)), story).settle()
    open_causes = [incident.cause for incident in life.situation().open]
    assert len(open_causes) == len(set(open_causes)), "one open incident a cause"
    touched = [d for d in life.decisions(*TOUCHES_PRODUCTION) if d.status == "DECIDED"]
    assert autonomy == "heal" or not touched, "without autonomy nothing is decided to be done"
    assert all(d.payload["cause"] not in (Cause.UNKNOWN, Cause.BENIGN_DRIFT, Cause.BAD_DATA) for d in touched), "doubt"
    changes = [d for d in touched if d.payload["action"] not in ON_SERVERS]
    for decision in changes:
        day = [d for d in changes if timedelta(0) <= decision.recorded_at - d.recorded_at < timedelta(days=1)]
        assert len(day) <= 2, "the budget holds"
    at_work = [i.tried[-1].action for i in life.situation().open if i.state is IncidentState.HEALING]
    assert sum(action in ON_SERVERS for action in at_work) <= 1, "one thing at a time on servers"
    assert sum(action not in ON_SERVERS for action in at_work) <= 1, "one thing at a time on the champion"
    raised_quality = {
        r.subject
        for r in life.ledger.after("m", RecordKind.EVIDENCE, 0, 10_000)
        if r.payload["signal"] == Signal.QUALITY and r.status == RAISED
    }
    attended = {
        batch
        for r in life.ledger.after("m", RecordKind.INCIDENT, 0, 10_000)
        if r.payload["cause"] == Cause.BAD_DATA
        for batch in r.payload["batch_ids"]
    }
    assert raised_quality == attended, "no broken batch is missed"


@settings(max_examples=80, deadline=None)
@given(st.lists(happenings, max_size=10))
def test_replay_from_the_ledger_gives_the_same_decisions(story: list[tuple[str, object]]) -> None:
    from selfheal_assets.stages.situation import gather

    life = live(Life(spec()), story)
    for record in life.decisions():
        situation = gather(life.ledger, life.spec, record.recorded_at, record.payload["seen"])
        again = {r.key: r for r in reconcile(life.spec, situation).records()}
        assert again[record.key].payload == record.payload
        assert again[record.key].status == record.status


@settings(max_examples=80, deadline=None)
@given(st.lists(signals, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_no_order_of_evidence_loses_an_incident(batches: list[dict[str, object]], random: object) -> None:
    def opened(order: list[int]) -> set[tuple[Cause, IncidentState]]:
        life = Life(spec(autonomy="observe"))
        for place in order:
            life.arrive(place + 1, **batches[place])  # type: ignore[arg-type]
        life.settle()
        return {(incident.cause, incident.state) for incident in life.incidents.values()}

    straight = list(range(len(batches)))
    shuffled = straight[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert opened(straight) == opened(shuffled)
