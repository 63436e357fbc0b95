"""Deciding again: the same for the same policy, a difference told for another, and trails that lack something."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from brain import Life, spec
from kept_home import Home

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.incident import OutcomeStatus
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.operations.replay import replay
from selfheal_assets.operations.trail import complete, trails
from selfheal_assets.ports import ModelVersion
from selfheal_assets.stages.governance import again, origin

CLEAR, RAISED = Status.CLEAR, Status.RAISED
WELL = {"quality": CLEAR, "drift": CLEAR, "performance": CLEAR}
HARMED = {"quality": CLEAR, "drift": RAISED, "performance": RAISED}


def healed(life: Life) -> Life:
    life.see(**WELL).see(**HARMED).see(**HARMED)
    return life.refuse("none fits").settle().promote("2").settle().see(**WELL).settle()


def changed(model: ModelSpec, **policy: object) -> ModelSpec:
    return replace(model, policy=replace(model.policy, **policy))  # type: ignore[arg-type]


class TestReplay:
    def test_the_same_policy_decides_the_same_byte_for_byte(self) -> None:
        life = healed(Life(spec()))
        told: list[tuple[int, int]] = []
        found = replay(life.ledger, [life.spec], lambda done, total: told.append((done, total)))
        assert found.decisions == found.identical == 2
        assert not found.differences
        assert told == [(1, 2), (2, 2)]

    def test_a_policy_that_would_decide_otherwise_is_reported(self) -> None:
        life = healed(Life(spec()))
        found = replay(life.ledger, [changed(life.spec, autonomy="recommend")])
        assert [d.decision.payload["action"] for d in found.differences] == [Action.REINSTATE, Action.RETRAIN]
        assert found.differences[0].what["status"] == ("DECIDED", "AWAITING")
        held = replay(life.ledger, [changed(life.spec, autonomy="observe")]).differences[0]
        assert held.what["status"] == ("DECIDED", "SUPPRESSED")
        assert held.what["hold"] == (None, "autonomy")

    def test_another_action_for_the_cause_is_reported(self) -> None:
        life = healed(Life(spec()))
        other = replace(life.spec, actions=replace(life.spec.actions, harmful_drift=("retrain",)))
        found = replay(life.ledger, [other]).differences[0]
        assert found.what["action"] == (Action.REINSTATE, Action.RETRAIN)
        assert found.what["decision"][0] == found.decision.subject

    def test_a_decision_that_would_not_be_made_is_reported_with_what_would_be(self) -> None:
        life = healed(Life(spec()))
        patient = replace(life.spec, drift=replace(life.spec.drift, persistence_k=3))
        found = replay(life.ledger, [patient]).differences[0]
        was, would_be = found.what["it"]
        assert was == "reinstate was decided"
        assert would_be.startswith("nothing is decided; the incident becomes OPEN")

    def test_a_change_that_touches_no_decision_is_no_difference(self) -> None:
        life = healed(Life(spec()))
        found = replay(life.ledger, [changed(life.spec, verify_batches=2)])
        assert (found.identical, found.another_policy, found.differences) == (0, 2, [])

    def test_what_people_decided_is_left_alone_and_what_cannot_be_read_is_a_finding(self) -> None:
        life = Life(spec())
        by_hand = {"action": "retrain", "cause": "unknown", "incident": None}
        life._record(RecordKind.DECISION, "by-hand-1", "DECIDED", life.now, **by_hand)
        life._record(RecordKind.DECISION, "old", "DECIDED", life.now, **by_hand, seen="never")
        found = replay(life.ledger, [life.spec])
        assert found.decisions == 1
        (difference,) = found.differences
        assert "cannot be decided: TypeError" in difference.what["it"][1]


class Versions:
    """The part of a registry that trails are read from."""

    def __init__(self, *tags: Mapping[str, str]) -> None:
        self.tags = tags

    def versions(self, model: str) -> list[ModelVersion]:
        now = datetime.now(UTC)
        return [
            ModelVersion(model=model, version=str(n), run_id="r", tags=tags, created_at=now)
            for n, tags in enumerate(self.tags, 1)
        ]


class TestTrails:
    def missing(self, life: Life, registry: Versions, runs: int = 1) -> list[tuple[str, ...]]:
        found = trails(life.ledger, [life.spec], lambda: registry, lambda _: runs)  # type: ignore[arg-type,return-value]
        assert complete(found) == sum(not trail.missing for trail in found)
        return [trail.missing for trail in found]

    def tags(self, life: Life, decision: Record) -> dict[str, str]:
        return {**origin(life.ledger, decision), "decision_id": decision.subject, "data_hash": "ab"}

    def test_a_heal_with_all_of_it_is_complete(self) -> None:
        life = healed(Life(spec()))
        tags = self.tags(life, life.decisions(Action.RETRAIN)[0])
        assert tags["trigger"].endswith(": harmful_drift")
        assert tags["approval"] == "none needed: the policy let it through"
        assert self.missing(life, Versions({}, tags)) == [(), ()]

    def test_what_is_missing_is_named(self) -> None:
        life = healed(Life(spec()))
        assert self.missing(life, Versions({}), runs=0) == [("run",), ("run", "MLflow tags")]
        half = {"decision_id": life.decisions(Action.RETRAIN)[0].subject}
        assert self.missing(life, Versions({}, half)) == [(), ("MLflow tags",)]

    def test_what_is_under_way_or_was_never_let_through_does_not_count(self) -> None:
        life = Life(spec()).see(**HARMED).see(**HARMED)
        assert self.missing(life, Versions()) == []
        life.refuse("none fits").settle().promote("2").settle()
        assert self.missing(life, Versions()) == [()], "the second is being verified"
        waiting = Life(spec(autonomy="recommend")).see(**HARMED).see(**HARMED)
        assert self.missing(waiting, Versions()) == []

    def test_a_rollback_and_who_approved_it_are_on_the_version_that_was_taken_back(self) -> None:
        life = healed(Life(spec(autonomy="heal")))
        life.see(drift=CLEAR, performance=RAISED, release=RAISED)
        rollback = life.decisions(Action.ROLLBACK)[0]
        life.outcome(rollback.subject, OutcomeStatus.ROLLED_BACK, version="1").settle().see(**WELL).settle()
        tags = self.tags(life, life.decisions(Action.RETRAIN)[0])
        assert self.missing(life, Versions({}, tags))[-1] == ("MLflow tags",)
        assert self.missing(life, Versions({}, {**tags, again(rollback): "incident"}))[-1] == ()

    def test_who_approved_is_in_the_origin(self) -> None:
        life = Life(spec(autonomy="recommend")).see(**HARMED).see(**HARMED)
        decision = life.decisions()[0]
        life._record(RecordKind.APPROVAL, decision.subject, "APPROVED", life.now, who="ada", reason="looked at it")
        assert origin(life.ledger, decision)["approval"] == "approved by ada: looked at it"
        assert life.settle().incidents[Cause.HARMFUL_DRIFT].state == "HEALING"


class TestCommand:
    @pytest.fixture(autouse=True)
    def no_registry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("selfheal_assets.wiring.Services.registry", Versions({}))

    def test_the_same_is_said_and_incomplete_trails_are_named(self, kept: Home, begun: Callable[..., Life]) -> None:
        life = healed(begun())
        kept.keep(life)
        said = kept.run("ledger", "replay")
        assert said.exit_code == 0, said.output
        assert "the same: 2 decisions, 2 identical, 0 identical but for the policy's fingerprint, 0 different" in (
            said.output
        )
        assert "trails: 0 of 2 heals (0%)" in said.output
        assert f"{life.decisions()[-1].subject} (retrain) lacks run, MLflow tags" in said.output

    def test_a_difference_is_shown_and_the_exit_code_is_1(self, kept: Home, begun: Callable[..., Life]) -> None:
        waiting = begun(autonomy="recommend")
        waiting.see(**HARMED).see(**HARMED)
        kept.keep(waiting)
        said = kept.run("ledger", "replay", "--model", "payments")
        assert said.exit_code == 1
        assert "changed: 1 decisions, 0 identical" in said.output
        assert waiting.decisions()[0].subject in said.output
        assert "AWAITING" in said.output

    def test_an_empty_ledger_is_the_same(self, kept: Home) -> None:
        said = kept.run("ledger", "replay")
        assert said.exit_code == 0
        assert "the same: 0 decisions" in said.output
        assert "no heal is over yet" in said.output
