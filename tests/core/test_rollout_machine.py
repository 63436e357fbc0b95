"""Any life of a rollout: looks of every kind, restarts of servers, people, and time; what must hold after each."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from selfheal_assets.adapters.ledger_payload import stored_form
from selfheal_assets.core.gates import Verdict
from selfheal_assets.core.record import Record
from selfheal_assets.core.rollout import aborted, advance, judged, opened, paused, resumed
from selfheal_assets.core.rollout_look import BUCKETS, ArmCounts, Look
from selfheal_assets.core.rollout_state import Rollout, RolloutState
from selfheal_assets.core.rollout_traffic import traffic
from selfheal_assets.core.serving_spec import RolloutSpec

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
PLANS = st.sampled_from(
    [
        RolloutSpec(over="requests", max_hours=2.0),
        RolloutSpec(over="requests", shadow_requests=0, steps=(1.0,), bake_minutes=0.0),
        RolloutSpec(over="requests", on_timeout="promote", max_hours=1.0, steps=(0.2, 1.0)),
        RolloutSpec(over="batches", require_quality=True, steps=(0.5, 1.0)),
    ]
)
ROWS = st.sampled_from([0, 20, 200, 4_000, 20_000])


def arm(rows: int, errors: int) -> ArmCounts:
    return ArmCounts(scores=(rows // BUCKETS,) * BUCKETS, errors=errors, answered=rows)


class AnyRollout(RuleBasedStateMachine):
    """One rollout; the ledger keeps what it was at each transition, and what led to it."""

    @initialize(spec=PLANS)
    def begin(self, spec: RolloutSpec) -> None:
        self.spec, self.now, self.look = spec, BEGIN, Look()
        self.rollout = opened(spec, decision_id="d", model="m", champion="1", challenger="2", now=BEGIN)
        self.records: list[Record] = [self.rollout.to_record()]
        self.looks: list[tuple[Look, datetime]] = []
        self.replayable = True

    def become(self, following: Rollout) -> None:
        before, self.rollout = self.rollout, following
        if following is before:
            return
        assert not before.ended, "what has ended stays"
        assert following.transition == before.transition + 1
        assert following.weight >= before.weight or following.state is RolloutState.ABORTED
        self.records.append(following.to_record())

    @rule(
        rows=ROWS,
        bad=st.sampled_from([0, 0, 0, 1, 40, 2_000]),
        worse=st.sampled_from([0.0, 0.0, 0.3]),
        minutes=st.sampled_from([0, 1, 20, 90]),
    )
    def look_at_it(self, rows: int, bad: int, worse: float, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        self.look = Look(
            champion=self.look.champion + arm(rows, 0),
            challenger=self.look.challenger + arm(rows, bad if rows else 0),
            loss_differences=(*self.look.loss_differences, *((worse,) * (rows // 20))),
        )
        self.advance()

    def advance(self) -> None:
        before, found = self.rollout, judged(self.rollout, self.spec, self.look)
        went_back = self.look.since(before.began).went_back
        following = advance(before, self.spec, self.look, self.now)
        if following.weight > before.weight and following.state is not RolloutState.ABORTED:
            declared = self.spec.on_timeout == "promote" and self.now >= before.deadline
            assert found.verdict is Verdict.PASS or (declared and found.verdict is Verdict.INCONCLUSIVE)
            assert before.paused_at is None
        if not before.ended and not went_back and found.verdict is Verdict.FAIL:
            assert following.rejected
        self.looks.append((self.look, self.now))
        self.become(following)
        assert advance(self.rollout, self.spec, self.look, self.now) is self.rollout, "the same look, nothing new"

    @rule(minutes=st.sampled_from([0, 5]))
    def a_server_begins_anew(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        self.look = replace(self.look, champion=ArmCounts(), challenger=ArmCounts())
        self.advance()

    @precondition(lambda self: not self.rollout.ended)
    @rule()
    def a_person_holds_it_or_lets_it_go_on(self) -> None:
        self.replayable = False
        act = resumed if self.rollout.paused_at else paused
        self.become(act(self.rollout, "ann", self.now))

    @precondition(lambda self: not self.rollout.ended and len(self.looks) > 3)
    @rule()
    def a_person_ends_it(self) -> None:
        self.replayable = False
        self.become(aborted(self.rollout, "ann", "why", self.now))
        assert not self.rollout.rejected

    @invariant()
    def the_ledger_has_it_once_a_transition(self) -> None:
        assert len({record.key for record in self.records}) == len(self.records)
        assert Rollout.from_record(stored_form(self.records[-1])) == self.rollout

    @invariant()
    def who_answers_fits_the_state(self) -> None:
        for alias in ("1", "2"):
            serving = traffic(alias, self.records[-1])
            assert serving is not None
            match self.rollout.state:
                case RolloutState.ABORTED:
                    assert (serving.champion, serving.challenger) == ("1", None)
                case RolloutState.PROMOTED:
                    assert (serving.champion, serving.challenger) == (alias, None)
                case RolloutState.BAKE:
                    assert (serving.champion, serving.standby, serving.challenger) == ("2", "1", None)
                case _ if alias == "1":
                    assert (serving.champion, serving.challenger, serving.weight) == ("1", "2", self.rollout.weight)
        shares = [0.0, *self.spec.steps]
        assert self.rollout.weight in shares
        assert (self.rollout.state is RolloutState.SHADOW) <= (self.rollout.weight == 0.0)

    def teardown(self) -> None:
        """Told again from the same looks, it is the same life."""
        if not hasattr(self, "rollout") or not self.replayable:
            return
        again = Rollout.from_record(self.records[0])
        keys = [again.to_record()]
        for look, now in self.looks:
            following = advance(again, self.spec, look, now)
            keys += [following.to_record()] if following is not again else []
            again = following
        assert keys == self.records


AnyRollout.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAnyRollout = AnyRollout.TestCase
