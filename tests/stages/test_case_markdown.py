"""The case file of an incident: what stands in it, as Markdown and as a plot; nothing is lost for old ones."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from brain import Life, spec

from selfheal_assets.core.causes import Cause
from selfheal_assets.core.evidence import Evidence, Status
from selfheal_assets.core.incident import IncidentState, OutcomeStatus
from selfheal_assets.core.model_spec import CostSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.stages import case_markdown as module
from selfheal_assets.stages.case_file import CaseFile, case_file
from selfheal_assets.stages.case_markdown import case_markdown
from selfheal_assets.stages.plots import as_markdown, incident_plot
from selfheal_assets.stages.plots import incident as plot_module

CLEAR, RAISED = Status.CLEAR, Status.RAISED
WELL = {"quality": CLEAR, "drift": CLEAR, "performance": (CLEAR, 0.9)}
HARMED = {"quality": CLEAR, "drift": RAISED, "performance": (RAISED, 0.6)}


def case_of(life: Life, cause: Cause) -> CaseFile:
    found = case_file(life.ledger, life.spec, life.incidents[cause].id)
    assert found is not None
    return found


def healed(life: Life) -> Life:
    life.see(**WELL).see(**HARMED).see(**HARMED)
    return life.refuse("none fits").settle().promote("2").settle().see(**WELL).settle()


def sections(text: str) -> dict[str, str]:
    parts = text.split("\n## ")
    return {part.split("\n")[0]: part for part in parts[1:]}


def test_every_part_of_a_heal_is_told() -> None:
    case = case_of(healed(Life(spec())), Cause.HARMFUL_DRIFT)
    text = case_markdown(case, {case.incident.tried[1].decision_id: ["run-1", "run-2"]}, "http://ui")
    assert text.startswith(f"# Incident {case.incident.id}: harmful drift, resolved\n")
    parts = sections(text)
    assert "| batch | signal | value | threshold | strength | rows | reason |" in parts["What was seen"]
    assert "| b002 | performance | 0.6 | 0.2 | 3x | 1,000 | performance RAISED |" in parts["What was seen"]
    assert "the inputs moved, and the champion does worse" in parts["What it was taken for, and why"]
    assert "roc_auc before, and at its worst: **0.9 → 0.6**" in parts["What it was taken for, and why"]
    assert "when **reinstate** was decided: retrain: only if reinstate" in parts["What was considered and refused"]
    done = parts["What was done"]
    assert "1. **reinstate**" in done
    assert "**none fits**" in done
    assert "2. **retrain**" in done
    assert "**verified**, version 2" in done
    assert "[run-1](http://ui/runs/run-1)" in done
    assert "[run-2](http://ui/runs/run-2)" in done
    assert "**retrain** (decided): 0.0 s" in parts["What it cost"]
    assert "roc_auc at its worst, and after: **0.6 → 0.9**" in parts["How it was verified"]
    assert "| b004 | CLEAR | 0.9 | 0.2 | 1,000 |" in parts["How it was verified"]
    states = [
        line.split("|")[2].strip() for line in parts["All of it, in order"].splitlines() if line.startswith("| 2")
    ]
    assert states == [str(i.state) for i in case.transitions]
    assert parts["All of it, in order"].count(case.transitions[0].diagnosis) == 1
    assert "| reinstate: as above |" in parts["All of it, in order"]


def test_the_sums_are_shown_where_they_are_declared() -> None:
    dear = replace(spec(), cost=CostSpec(value_per_unit_day=1.0, horizon_days=1.0, per_heal=100.0))
    life = Life(dear).see(**WELL).see(**HARMED).see(**HARMED)
    text = case_markdown(case_of(life, Cause.HARMFUL_DRIFT))
    assert "(due and held back): expected loss 0.30 = drop 0.3000 x 1 a day" in sections(text)["What it cost"]
    assert "held back by **cost**" in text
    assert "Nothing yet." in sections(text)["What was done"]


def test_what_waits_and_who_answered_is_told() -> None:
    life = Life(spec(autonomy="recommend")).see(**HARMED).see(**HARMED)
    case = case_of(life, Cause.HARMFUL_DRIFT)
    assert "a person must approve it until 2026-03-02 02:00:00: autonomy is 'recommend'" in case_markdown(case)
    decision = case.incident.tried[-1].decision_id
    life._record(RecordKind.APPROVAL, decision, "REJECTED", life.now, who="ada", reason="not | today")
    text = case_markdown(case_of(life.settle(), Cause.HARMFUL_DRIFT))
    assert "rejected by ada, 2026-03-01 02:00:00: not \\| today" in text
    assert "Not yet: it is ESCALATED." in sections(text)["How it was verified"]


def test_foreign_text_stays_text(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of(healed(Life(spec())), Cause.HARMFUL_DRIFT)
    hostile = "a|b\n# not a heading <img src=x> ![x](http://elsewhere) " + 1_000 * "x"
    text = case_markdown(replace(case, incident=replace(case.incident, diagnosis=hostile)))
    assert "\n# not a heading" not in text
    assert "<img" not in text
    assert "![x]" not in text
    assert max(map(len, text.splitlines())) < 1_000
    monkeypatch.setattr(module, "SHOWN", 2)
    assert f"The newest 2 of {len(case.transitions)}:" in case_markdown(case)


def test_an_incident_that_ended_long_ago_keeps_its_evidence() -> None:
    life = healed(Life(spec()))
    incident = life.incidents[Cause.HARMFUL_DRIFT].id
    before = case_file(life.ledger, life.spec, incident)
    for _ in range(700):
        life.arrive(**WELL)
    after = case_file(life.ledger, life.spec, incident)
    assert before is not None
    assert after is not None
    assert after.evidence == before.evidence
    assert [d.subject for d in after.decisions] == [d.subject for d in before.decisions]
    assert after.after[: len(before.after)] == before.after


def test_after_a_rollback_only_newer_batches_count_as_after() -> None:
    life = healed(Life(spec()))
    life.see(quality=CLEAR, drift=CLEAR, performance=(RAISED, 0.5), release=RAISED)
    life.outcome(life.healing.tried[-1].decision_id, OutcomeStatus.ROLLED_BACK, version="1").settle()
    life.see(**WELL).settle()
    case = case_of(life, Cause.BAD_RELEASE)
    assert case.incident.state is IncidentState.RESOLVED
    assert [e.batch_id for e in case.after] == ["b006"], "version 1 was also measured on the batches before"


class TestPlot:
    def drawn(self, case: CaseFile, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, Any]:
        """The PNG, and the axes that it was drawn from."""
        figures: list[Any] = []

        def keep(height: int) -> Any:
            figures.append(new_figure(height))
            return figures[-1]

        new_figure = plot_module.new_figure
        monkeypatch.setattr(plot_module, "new_figure", keep)
        png = incident_plot(case)
        return png, figures[0].axes[0]

    def test_onset_action_and_recovery_are_marked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        case = case_of(healed(Life(spec())), Cause.HARMFUL_DRIFT)
        case = replace(case, incident=replace(case.incident, began_at="b002"))
        png, axes = self.drawn(case, monkeypatch)
        assert png.startswith(b"\x89PNG")
        assert len(png) < 60_000
        lines = {line.get_label(): line for line in axes.lines}
        assert list(lines["most likely onset"].get_xdata()) == [1, 1]
        assert list(lines["action"].get_xdata()) == [2.5, 2.5]
        assert list(lines["recovery"].get_xdata()) == [3, 3]
        assert [text.get_text() for text in axes.texts] == ["reinstate", "retrain"]
        assert base64.b64encode(png).decode() in as_markdown(png, "plot")

    def test_an_estimate_stands_where_labels_have_not_come_and_is_hollow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        waiting = {"drift": RAISED, "performance": Status.UNKNOWN, "estimated_performance": (RAISED, 0.7)}
        life = Life(spec()).see(**WELL).see(**waiting).see(**waiting)
        case = case_of(life, Cause.HARMFUL_DRIFT)
        _, axes = self.drawn(case, monkeypatch)
        points = {line.get_xdata()[0]: line.get_fillstyle() for line in axes.lines if len(line.get_xdata()) == 1}
        assert points == {0: "full", 1: "none", 2: "none"}

    def test_nothing_measured_says_so(self) -> None:
        life = Life(spec()).see(quality=RAISED)
        case = case_of(life, Cause.BAD_DATA)
        assert case.history == []
        assert incident_plot(case).startswith(b"\x89PNG")

    def test_a_value_that_is_not_finite_is_not_drawn(self) -> None:
        case = case_of(healed(Life(spec())), Cause.HARMFUL_DRIFT)
        broken: list[Evidence] = [replace(e, value=float("nan"), threshold=None) for e in case.history]
        assert incident_plot(replace(case, history=broken)).startswith(b"\x89PNG")
