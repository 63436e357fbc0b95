"""`selfheal incidents`, `approve` and `reject`: what a person reads, writes, and is refused."""

import os
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from brain import Life
from kept_home import Home

from selfheal_assets.core.causes import Cause
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.incident import Incident, IncidentState
from selfheal_assets.core.record import RecordKind
from selfheal_assets.operations import person
from selfheal_assets.stages.identity import DECISION_TAG

CLEAR, RAISED = Status.CLEAR, Status.RAISED
WELL = {"quality": CLEAR, "drift": CLEAR, "performance": CLEAR}
HARMED = {"quality": CLEAR, "drift": RAISED, "performance": RAISED}
Begun = Callable[..., Life]


def harmed(life: Life) -> Life:
    return life.see(**WELL).see(**HARMED).see(**HARMED)


def healed(life: Life) -> Incident:
    incident = harmed(life).healing
    life.refuse("none fits").settle().promote("2").settle().see(**WELL).settle()
    return incident


def escalated(begun: Begun) -> tuple[Life, Incident]:
    life = harmed(begun(autonomy="recommend"))
    incident = life.incidents[Cause.HARMFUL_DRIFT]
    life.say(RecordKind.APPROVAL, incident.tried[-1].decision_id, "REJECTED").settle()
    assert life.state(Cause.HARMFUL_DRIFT) is IncidentState.ESCALATED
    return life, incident


def last(kept: Home, incident: str) -> Incident:
    return Incident.from_record(kept.ledger.newest("payments", RecordKind.INCIDENT, subject=incident)[0])


class TestIncidents:
    def test_open_ones_are_listed_and_ended_ones_when_asked_for(self, kept: Home, begun: Begun) -> None:
        assert "no open incident" in kept.run("incidents").output
        life = begun()
        first = healed(life)
        second = life.see(**HARMED).see(**HARMED).healing
        kept.keep(life)
        open_ones = kept.run("incidents")
        assert open_ones.exit_code == 0, open_ones.output
        assert second.id in open_ones.output
        assert first.id not in open_ones.output
        every = kept.run("incidents", "--all", "--model", "payments").output
        assert first.id in every
        assert second.id in every

    def test_a_case_file_tells_the_whole_story_with_its_runs(
        self, kept: Home, begun: Begun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        life = begun()
        incident = healed(life)
        kept.keep(life)
        decision = life.decisions()[-1].subject
        monkeypatch.setenv("DAGSTER_HOME", str(kept.folder / "dagster"))
        with dg.DagsterInstance.get() as instance:
            run = instance.add_run(dg.DagsterRun(job_name="payments_retrain", tags={DECISION_TAG: decision}))
        by_id, by_decision = kept.run("incidents", incident.id), kept.run("incidents", decision)
        assert by_id.exit_code == 0, by_id.output
        assert by_id.output == by_decision.output
        for told in ("What was seen", "harmful drift", "none fits", "verified", "version 2", decision, run.run_id):
            assert told in by_id.output, told

    def test_what_is_not_there_is_told_plainly(self, kept: Home) -> None:
        assert "received 'nonsense', which none of the models has (payments)" in kept.refused("incidents", "nonsense")
        assert "Declared are: payments" in kept.refused("incidents", "--model", "other")
        assert "received none" in kept.refused("incidents", "--close", "done")

    def test_without_a_home_the_remedy_is_told(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from typer.testing import CliRunner

        from selfheal_assets.cli import app

        monkeypatch.setenv("SELFHEAL_HOME", str(home))
        said = CliRunner().invoke(app, ["incidents"])
        assert said.exit_code == 1
        assert "selfheal init" in said.output
        assert isinstance(said.exception, SystemExit)

    def test_a_person_ends_an_escalated_one_by_name(self, kept: Home, begun: Begun) -> None:
        life, incident = escalated(begun)
        kept.keep(life)
        said = kept.run("incidents", incident.id, "--close", "the feed is fixed")
        assert said.exit_code == 0, said.output
        ended = last(kept, incident.id)
        assert (ended.state, ended.reason) == (IncidentState.RESOLVED, "closed by ada: the feed is fixed")
        assert "which is RESOLVED" in kept.refused("incidents", incident.id, "--close", "again")

    def test_closing_needs_a_reason(self, kept: Home, begun: Begun) -> None:
        life, incident = escalated(begun)
        kept.keep(life)
        assert "must say why" in kept.refused("incidents", incident.id, "--close", " ")
        assert last(kept, incident.id).state is IncidentState.ESCALATED

    def test_what_selfheal_still_works_on_is_not_a_persons_to_end(self, kept: Home, begun: Begun) -> None:
        other = harmed(begun())
        kept.keep(other)
        assert "which is HEALING" in kept.refused("incidents", other.healing.id, "--close", "enough")


class TestApproval:
    def test_the_word_is_recorded_by_name_once_and_acted_on(self, kept: Home, begun: Begun) -> None:
        life = harmed(begun(autonomy="recommend"))
        incident = life.incidents[Cause.HARMFUL_DRIFT]
        decision = incident.tried[-1].decision_id
        kept.keep(life)
        said = kept.run("approve", incident.id, "--reason", "looked at it")
        assert said.exit_code == 0, said.output
        assert f"reinstate (decision {decision}) of incident {incident.id} is approved by ada" in said.output
        (word,) = kept.ledger.newest("payments", RecordKind.APPROVAL, limit=9)
        assert (word.subject, word.status) == (decision, "APPROVED")
        assert {name: word.payload[name] for name in ("who", "reason", "incident")} == {
            "who": "ada",
            "reason": "looked at it",
            "incident": incident.id,
        }
        assert "ada has approved already" in kept.refused("reject", decision)
        life.ledger.append(*kept.ledger.newest("payments", RecordKind.APPROVAL))
        assert life.settle().state(Cause.HARMFUL_DRIFT) is IncidentState.HEALING

    def test_a_rejection_escalates(self, kept: Home, begun: Begun) -> None:
        life = harmed(begun(autonomy="recommend"))
        kept.keep(life)
        decision = life.incidents[Cause.HARMFUL_DRIFT].tried[-1].decision_id
        assert kept.run("reject", decision).exit_code == 0
        life.ledger.append(*kept.ledger.newest("payments", RecordKind.APPROVAL))
        assert life.settle().state(Cause.HARMFUL_DRIFT) is IncidentState.ESCALATED

    def test_nothing_waits_where_nothing_waits(self, kept: Home, begun: Begun) -> None:
        life = begun()
        incident = healed(life)
        kept.keep(life)
        assert "RESOLVED" in kept.refused("approve", incident.id)
        assert "which none of the models has" in kept.refused("approve", "nonsense")
        assert not kept.ledger.newest("payments", RecordKind.APPROVAL)

    def test_an_earlier_decision_of_a_waiting_incident_is_not_what_waits(self, kept: Home, begun: Begun) -> None:
        life = begun(autonomy="recommend")
        first = harmed(life).incidents[Cause.HARMFUL_DRIFT].tried[-1].decision_id
        life.say(RecordKind.APPROVAL, first, "APPROVED").settle().refuse("none fits").settle()
        incident = life.incidents[Cause.HARMFUL_DRIFT]
        assert (incident.hold, len(incident.tried)) == ("approval", 2)
        kept.keep(life)
        assert "Only a decision that waits" in kept.refused("approve", first)
        assert kept.run("approve", incident.tried[-1].decision_id).exit_code == 0

    def test_what_expired_cannot_be_approved(self, kept: Home, begun: Begun) -> None:
        life = harmed(begun(hours_ago=40.0, autonomy="recommend"))
        kept.keep(life)
        said = kept.refused("approve", life.incidents[Cause.HARMFUL_DRIFT].id)
        assert "within 24 hours" in said
        assert "expired at" in said
        assert not kept.ledger.newest("payments", RecordKind.APPROVAL)


def test_a_word_without_a_name_is_refused(kept: Home, begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError("No username set in the environment")

    life = harmed(begun(autonomy="recommend"))
    kept.keep(life)
    monkeypatch.delenv("SELFHEAL_USER")
    monkeypatch.setattr(person.getpass, "getuser", nobody)
    assert "Set SELFHEAL_USER" in kept.refused("approve", life.incidents[Cause.HARMFUL_DRIFT].id)
    monkeypatch.setattr(person.getpass, "getuser", lambda: "grace")
    assert "by grace" in kept.run("approve", life.incidents[Cause.HARMFUL_DRIFT].id).output
    assert "SELFHEAL_USER" not in os.environ
