"""What holds in every life of a model, with all that evidence, runs, people and the clock may do to it."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from brain import BATCH, BEGIN, Life, spec
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from selfheal_assets.core.causes import ON_SERVERS, PRODUCES_CANDIDATE, TOUCHES_PRODUCTION, Action, Cause
from selfheal_assets.core.evidence import OF_SERVERS, Signal, Status
from selfheal_assets.core.incident import TRANSITIONS, Incident, IncidentState, OutcomeStatus, Result
from selfheal_assets.core.reconcile import reconcile
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.stages.situation import gather

CLEAR, RAISED, UNKNOWN = Status.CLEAR, Status.RAISED, Status.UNKNOWN
DAY = timedelta(days=1)
EVERYTHING = 100_000
FAULTS = tuple(OF_SERVERS)
HARMS = (Signal.PERFORMANCE, Signal.ESTIMATED_PERFORMANCE)
WELL = {"quality": CLEAR, "drift": CLEAR, "performance": CLEAR}
TROUBLES: list[dict[str, Any]] = [
    {"drift": (RAISED, 0.6), "performance": RAISED},
    {"drift": (RAISED, 0.6), "performance": RAISED, "errors": RAISED},
    {**WELL, "errors": RAISED},
    {**WELL, "latency": RAISED, "release_fault": RAISED},
    {**WELL, "feature_store": RAISED},
    {**WELL, "performance": RAISED},
    {**WELL, "performance": RAISED, "release": RAISED},
    {**WELL, "prior": RAISED, "conditional": CLEAR},
    {"drift": CLEAR, "performance": UNKNOWN, "estimated_performance": CLEAR, "risk": RAISED},
    WELL,
]
Happening = tuple[str, Any]


class Chronicle(Life):
    """A life of which every step is kept: when, as of which place, and what it wrote."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.steps: list[tuple[Any, int, list[Record]]] = []

    def step(self) -> Any:
        place = self.ledger.head().sequence
        made = super().step()
        self.steps.append((self.now, place, made.records()))
        return made

    def happens(self, what: str, said: Any, number: int) -> None:
        """One happening, and the step that the core takes after it."""
        kinds: dict[str, Callable[[Any, int], None]] = {
            "see": self._see,
            "settle": self._settled,
            "run": self._run,
            "person": self._person,
            "wait": self._wait,
        }
        kinds[what](said, number)
        self.step()

    def _see(self, said: tuple[int, dict[str, Any]], _: int) -> None:
        back, statuses = said
        self.arrive(max(self.batch - back, 1) if back else None, **statuses)

    def _settled(self, said: tuple[int, str], _: int) -> None:
        back, status = said
        rows = 0 if status == "QUARANTINED" else 900
        name = f"b{max(self.batch - back, 1):03}"
        self._record(RecordKind.BATCH_SETTLED, name, status, BEGIN, rows_clean=rows, labelled_rows=rows)
        self._record(RecordKind.BATCH_CLOSED, name, "CLOSED", BEGIN)

    def _run(self, status: OutcomeStatus, number: int) -> None:
        for heal in [heal for heal in self.situation().heals if heal.outcome is None][:1]:
            good = status is OutcomeStatus.PROMOTED
            done = {Action.ROLLBACK: OutcomeStatus.ROLLED_BACK, Action.RESTART: OutcomeStatus.RESTARTED}
            ended = done.get(heal.action, status) if good else status
            version = str(number + 2) if good and heal.action in {*PRODUCES_CANDIDATE, Action.ROLLBACK} else None
            self.outcome(heal.decision.subject, ended, version=version)

    def _person(self, said: str, number: int) -> None:
        waiting = [i.tried[-1].decision_id for i in self.situation().open if i.hold == "approval"]
        if said in ("APPROVED", "REJECTED"):
            for decision in waiting:
                self.say(RecordKind.APPROVAL, decision, said)
        elif said == "promote":
            self.outcome(f"by-hand-{number}", OutcomeStatus.PROMOTED, version=f"{number}h")
        else:
            self.say(RecordKind.FLAG, "*", said)

    def _wait(self, hours: float, _: int) -> None:
        self.now += timedelta(hours=hours)


def statuses(*allowed: Status, signals: Iterable[Signal] = tuple(Signal)) -> st.SearchStrategy[dict[str, Any]]:
    said = st.tuples(st.sampled_from(allowed), st.floats(0.0, 1.0))
    return st.dictionaries(st.sampled_from([str(s) for s in signals]), said, max_size=7)


def stories(seen: st.SearchStrategy[dict[str, Any]] | None = None) -> st.SearchStrategy[list[Happening]]:
    """Single happenings, and between them what seldom comes of chance: trouble that lasts, and an end of the run."""
    anything = statuses(*Status) if seen is None else seen
    outcome = st.sampled_from([OutcomeStatus.PROMOTED, OutcomeStatus.REFUSED, OutcomeStatus.FAILED])
    word = st.sampled_from(["APPROVED", "APPROVED", "REJECTED", "OFF", "ON", "promote"])
    back = st.sampled_from([0, 0, 0, 0, 1, 2])
    happening = st.one_of(
        st.tuples(st.just("see"), st.tuples(back, anything)),
        st.tuples(st.just("run"), outcome),
        st.tuples(st.just("person"), word),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 3.0, 13.0])),
        st.tuples(
            st.just("settle"), st.tuples(st.integers(0, 4), st.sampled_from(["QUARANTINED", "PARTIAL", "CLEAN"]))
        ),
    )
    lasting = anything if seen is not None else st.sampled_from(TROUBLES)
    trouble = st.tuples(lasting, st.booleans(), outcome).map(
        lambda drawn: [
            *[("see", (0, drawn[0]))] * 2,
            *([("person", "APPROVED"), ("run", drawn[2])] if drawn[1] else []),
        ]
    )
    parts = st.lists(st.one_of(happening.map(lambda one: [one]), trouble), min_size=5, max_size=14)
    return parts.map(lambda drawn: [one for part in drawn for one in part])


policies = st.fixed_dictionaries(
    {
        "autonomy": st.sampled_from(["heal", "heal", "heal", "recommend", "recommend", "observe"]),
        "heals_per_day": st.integers(1, 3),
        "cooldown_minutes": st.sampled_from([0.0, 90.0]),
        "retries": st.integers(0, 2),
        "verify_batches": st.integers(1, 5),
        "approval_hours": st.sampled_from([2.0, 48.0]),
    }
)


def lived(story: list[Happening], policy: dict[str, Any], *, champion: str | None = "1") -> Chronicle:
    life = Chronicle(spec(**policy), champion=champion)
    for number, (what, said) in enumerate(story):
        life.happens(what, said, number)
    return life


def begun(life: Life) -> list[Incident]:
    """The transitions with which production began to be touched."""
    found: list[Incident] = []
    every = [Incident.from_record(r) for r in life.ledger.after("m", RecordKind.INCIDENT, 0, EVERYTHING)]
    for one in every:
        known = {(i.id, i.tried[-1].decision_id) for i in found}
        if one.state is IncidentState.HEALING and (one.id, one.tried[-1].decision_id) not in known:
            found.append(one)
    return found


def raised(life: Life, *signals: Signal) -> list[Record]:
    every = life.ledger.after("m", RecordKind.EVIDENCE, 0, EVERYTHING)
    return [r for r in every if r.status == RAISED and r.payload["signal"] in signals]


generous = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Doubt never touches production.


@generous
@given(
    stories(
        st.builds(
            lambda doubt, harmless: {**doubt, **harmless},
            statuses(CLEAR, UNKNOWN),
            st.dictionaries(
                st.sampled_from(["drift", "score_drift", "quality", "volume", "freshness", "conditional", "training"]),
                st.tuples(st.just(RAISED), st.floats(0.0, 0.49)),
            ),
        )
    ),
    policies,
)
def test_without_evidence_of_harm_production_is_never_touched(story: list[Happening], policy: dict[str, Any]) -> None:
    """Whatever moves, breaks or is missing: unless a signal of harm is raised, or the drift is strong."""
    life = lived(story, policy)
    assert not begun(life)
    assert not life.decisions(*TOUCHES_PRODUCTION)


@generous
@given(stories(), policies)
def test_doubt_never_touches_production(story: list[Happening], policy: dict[str, Any]) -> None:
    """Each heal has its evidence in the ledger: as often as the policy asks, or of a kind that needs no repetition."""
    life = lived(story, policy)
    k = life.spec.drift.persistence_k
    often = (HARMS, (Signal.PRIOR,))
    enough = any(len({r.subject for r in raised(life, *signals)}) >= k for signals in often)
    strong = [r for r in raised(life, Signal.DRIFT) if r.payload["value"] >= life.spec.policy.strong_psi]
    at_once = raised(life, Signal.RISK, *FAULTS) or (raised(life, Signal.RELEASE) and raised(life, *HARMS))
    assert enough or at_once or len({r.subject for r in strong}) >= k or not begun(life)
    for one in begun(life):
        assert one.cause not in (Cause.UNKNOWN, Cause.BENIGN_DRIFT, Cause.BAD_DATA, Cause.UPSTREAM_STALLED)
        assert one.batch_ids
        assert all(any(r.subject == batch for r in raised(life, *Signal)) for batch in one.batch_ids)


# What is declared is kept to.


@generous
@given(stories(), policies)
def test_a_spent_budget_and_switched_off_actions_never_touch_production(
    story: list[Happening], policy: dict[str, Any]
) -> None:
    life = lived(story, policy)
    on_servers = {True: list[Any](), False: list[Any]()}
    for one in begun(life):
        on_servers[one.tried[-1].action in ON_SERVERS].append(one.tried[-1].decided_at)
    limits = {True: (timedelta(hours=1), life.spec.serving.restarts_per_hour), False: (DAY, policy["heals_per_day"])}
    for which, times in on_servers.items():
        span, limit = limits[which]
        for at in times:
            assert len([other for other in times if timedelta(0) <= at - other < span]) <= limit
    flags = life.ledger.after("*", RecordKind.FLAG, 0, EVERYTHING) + life.ledger.after(
        "m", RecordKind.FLAG, 0, EVERYTHING
    )
    for record in life.ledger.after("m", RecordKind.INCIDENT, 0, EVERYTHING):
        off = [flag for flag in flags if flag.sequence < record.sequence][-1:]
        starts = (
            record.status == "HEALING" and record.payload["tried"][-1]["decided_at"] == record.recorded_at.isoformat()
        )
        assert not (starts and off and off[0].status == "OFF")


@generous
@given(stories(), policies)
def test_without_autonomy_only_a_person_lets_production_be_touched(
    story: list[Happening], policy: dict[str, Any]
) -> None:
    life = lived(story, policy)
    approved = {r.subject for r in life.ledger.after("m", RecordKind.APPROVAL, 0, EVERYTHING) if r.status == "APPROVED"}
    touched = {i.tried[-1].decision_id for i in begun(life)}
    assert policy["autonomy"] != "observe" or not touched
    assert policy["autonomy"] != "recommend" or touched <= approved


@generous
@given(stories(), policies)
def test_of_one_model_one_thing_at_a_time(story: list[Happening], policy: dict[str, Any]) -> None:
    """On its champion, and on its servers. Also when people approve several at once; only a bad release is taken back
    while another heal is verified."""
    life = Chronicle(spec(**policy))
    for number, (what, said) in enumerate(story):
        life.happens(what, said, number)
        work = [i for i in life.situation().open if i.state in (IncidentState.HEALING, IncidentState.VERIFYING)]
        touching = [i for i in work if i.tried[-1].action in TOUCHES_PRODUCTION]
        for servers in (True, False):
            those = [i for i in touching if (i.tried[-1].action in ON_SERVERS) is servers]
            assert sum(i.state is IncidentState.HEALING for i in those) <= 1
            assert len([i for i in those if i.cause is not Cause.BAD_RELEASE]) <= 1
        causes = [i.cause for i in life.situation().open]
        assert len(causes) == len(set(causes)), "one open incident a cause"


# Quarantine is never learned from.


@generous
@given(stories(), st.sampled_from(["1", None]))
def test_nothing_quarantined_is_ever_to_be_learned_from(story: list[Happening], champion: str | None) -> None:
    life = lived(story, {"heals_per_day": 9}, champion=champion)
    settled = life.ledger.after("m", RecordKind.BATCH_SETTLED, 0, EVERYTHING)
    for decision in life.decisions():
        as_of = {r.subject: r.status for r in settled if r.sequence <= decision.payload["seen"]}
        assert "QUARANTINED" not in [as_of[batch] for batch in decision.payload["training_batches"]]


# The ledger tells it all.


@settings(generous, max_examples=40)
@given(stories(), policies, st.sampled_from(["1", None]))
def test_each_step_can_be_taken_again_from_the_ledger(
    story: list[Happening], policy: dict[str, Any], champion: str | None
) -> None:
    """Incidents and decisions, byte for byte, however much was written since."""
    life = lived(story, policy, champion=champion)
    for now, place, records in life.steps:
        assert reconcile(life.spec, gather(life.ledger, life.spec, now, place)).records() == records


@settings(generous, max_examples=40)
@given(stories(), policies)
def test_a_step_after_a_step_changes_nothing_and_a_crash_between_them_loses_nothing(
    story: list[Happening], policy: dict[str, Any]
) -> None:
    life = lived(story, policy).settle()
    before = life.ledger.head()
    life.step()
    assert life.ledger.head() == before
    whole = reconcile(life.spec, life.situation()).records()
    life.ledger.append(*whole)
    assert life.ledger.head() == before, "written twice is written once"


@generous
@given(stories(), policies)
def test_every_incident_goes_the_way_of_the_machine(story: list[Happening], policy: dict[str, Any]) -> None:
    life = lived(story, policy)
    last: dict[str, Incident] = {}
    for record in life.ledger.after("m", RecordKind.INCIDENT, 0, EVERYTHING):
        one = Incident.from_record(record)
        if one.id in last:
            before = last[one.id]
            assert one.state in TRANSITIONS[before.state]
            assert one.step == before.step + 1
            assert set(before.batch_ids) <= set(one.batch_ids), "no evidence is lost on the way"
            assert len(one.tried) >= len(before.tried)
        else:
            assert (one.state, one.step) == (IncidentState.OPEN, 0)
        last[one.id] = one
    for one in last.values():
        assert not one.ended or one.hold is None, "nothing is held back any more"
        waits = [a for a in one.tried if a.result is Result.AWAITING]
        assert bool(waits) == (one.hold == "approval"), "an attempt waits as long as its incident does, and no longer"
        decided = {d.subject for d in life.decisions()}
        assert {a.decision_id for a in one.tried} <= decided


# No order of two evidence records loses an incident.

pairs = st.tuples(st.sampled_from(list(Signal)), st.integers(1, 3), st.sampled_from(list(Status)), st.floats(0.0, 1.0))


@settings(generous, max_examples=150)
@given(st.lists(pairs, max_size=4, unique_by=lambda p: p[:2]), pairs, pairs)
def test_no_order_of_two_records_loses_an_incident(before: list[Any], first: Any, second: Any) -> None:
    """Nor does a step of the core between the two, though it may open one that the second would have prevented."""
    assume(first[:2] != second[:2])

    def standing(*order: Any, step_between: bool) -> set[Cause]:
        life = Life(spec(autonomy="observe"))
        for number in (1, 2, 3):
            life.arrive(number, quality=CLEAR)
        for signal, batch, status, value in before:
            life.evidence(signal, status, f"b{batch:03}", BEGIN + batch * BATCH, value)
        for signal, batch, status, value in order:
            if step_between:
                life.settle()
            life.evidence(signal, status, f"b{batch:03}", BEGIN + batch * BATCH, value)
        every = life.settle().every()
        # A broken batch is done with as soon as a good one comes; that it was told is what counts.
        return {one.cause for one in every if not one.ended or one.cause is Cause.BAD_DATA} - {Cause.UNKNOWN}

    together = standing(first, second, step_between=False)
    assert standing(second, first, step_between=False) == together
    assert standing(first, second, step_between=True) >= together
    assert standing(second, first, step_between=True) >= together
