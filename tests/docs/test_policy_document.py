"""docs/policy.md says what the code does: its tables are the code's own, and its stories happen."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from brain import Life, spec
from typer.testing import CliRunner

from selfheal_assets.cli import app
from selfheal_assets.core import model_spec, policy_spec
from selfheal_assets.core.causes import GRAVITY, Action, Cause
from selfheal_assets.core.diagnosis_rules import RULES
from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.evidence import Signal, Status
from selfheal_assets.core.holds import Hold
from selfheal_assets.core.incident import TRANSITIONS, OutcomeStatus
from selfheal_assets.core.model_spec import CostSpec, ModelSpec
from selfheal_assets.operations.attribute_docs import attribute_docs, split_by
from selfheal_assets.operations.effective_policy import standing_holds
from selfheal_assets.operations.held_example import example_spec, objections
from selfheal_assets.operations.policy_actions import state_diagram
from selfheal_assets.operations.policy_diagnosis import EXPLAINED, decision_table, recorded_by
from selfheal_assets.operations.policy_document import DOCUMENT, PARTS, renewed, write
from selfheal_assets.operations.policy_fields import field_stories, sections, values
from selfheal_assets.stages.situation import gather

TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_the_document_is_current() -> None:
    assert renewed(TEXT) == TEXT, "run `selfheal policy --write`"


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("<!-- generated: holds -->", "", "'holds'"),
        ("<!-- end: gravity -->", "<!-- end: gravty -->", "'gravity'"),
        ("<!-- generated: states -->", "<!-- generated: moods -->", "'states'"),
        ("# Policy", "<!-- end: states -->\n# Policy", f"{2 * len(PARTS) + 1} markers"),
    ],
)
def test_a_part_without_its_place_is_refused(was: str, becomes: str, said: str) -> None:
    with pytest.raises(SelfhealError, match=re.escape(said)):
        renewed(TEXT.replace(was, becomes, 1))


def test_writing_renews_the_parts_and_nothing_else(tmp_path: Path) -> None:
    stale = tmp_path / "policy.md"
    stale.write_text(TEXT.replace("| `quality` |", "| `quallity` |", 1), encoding="utf-8")
    assert write(stale)
    assert stale.read_text(encoding="utf-8") == TEXT
    assert not write(stale)
    with pytest.raises(SelfhealError, match="Run this in a checkout"):
        write(tmp_path / "elsewhere.md")


@pytest.mark.parametrize("kind", list(sections().values()), ids=list(sections()))
def test_every_field_says_what_follows_from_it(kind: type) -> None:
    docs = attribute_docs(kind)
    bare = [field.name for field in fields(kind) if not docs.get(field.name)]
    assert not bare, f"{kind.__name__}: {bare} need a docstring"


def test_every_field_of_every_section_is_told_with_its_default_and_every_number_with_a_unit() -> None:
    stories = {story.path: story for story in field_stories()}
    declared = {
        name if section == "attributes" else f"{section}.{name}"
        for section, kind in sections().items()
        for name in (field.name for field in fields(kind))
        if name not in sections()
    }
    assert set(stories) == declared
    assert (stories["drift.reference_rows"].default, stories["drift.reference_rows"].unit) == ("5000", "rows")
    assert stories["training.windows"].type == "list of whole number, at least 1, not empty"
    assert stories["drift.min_importance_share"].type == "number, at least 0, below 1"
    assert (stories["name"].default, stories["performance.max_drop"].unit) == ("required", "of the metric")
    assert "Unit:" not in stories["performance.max_drop"].consequence
    assert all(f"| `{story.name}` |" in TEXT for story in stories.values())


def test_a_value_that_was_declared_is_told_from_a_default() -> None:
    model = replace(example_spec(), cost=CostSpec(per_heal=5.0))
    declared = {story.path: value for story, value, default in values(model) if not default}
    assert declared.keys() - {s.path for s in field_stories() if s.default == "required"} == {"cost.per_heal"}
    assert declared["cost.per_heal"] == "5"


@pytest.mark.parametrize("signal", Signal)
def test_a_signal_that_something_records_is_explained(signal: Signal) -> None:
    what, parts = split_by(EXPLAINED, attribute_docs(Signal)[signal.name])
    assert what
    assert set(parts) == set(EXPLAINED)


def test_who_records_a_signal_is_found_in_the_code() -> None:
    found = recorded_by()
    assert found[Signal.DRIFT] == ("stages/drift_evidence",), "a module that reads it does not record it"
    assert found[Signal.CONDITIONAL] == found[Signal.PRIOR] == ("stages/prior_evidence",)
    assert {Signal.QUALITY, Signal.VOLUME, Signal.FRESHNESS, Signal.RISK, Signal.RELEASE} <= set(found)


def test_the_table_has_every_rule_in_order_of_gravity() -> None:
    rows = decision_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [rule.cause for rule in RULES]
    places = [GRAVITY.index(rule.cause) for rule in RULES]
    assert places == sorted(places)


def test_every_objection_is_shown_and_in_the_order_in_which_it_is_asked() -> None:
    asked = list(dict.fromkeys(held.hold for held in objections()))
    assert asked == list(Hold)
    assert list(standing_holds(example_spec())) == list(Hold)


def test_a_hold_that_the_example_cannot_lift_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from selfheal_assets.operations import held_example

    known = {hold: lift for hold, lift in held_example.LIFTS.items() if hold is not Hold.BUDGET}
    monkeypatch.setattr(held_example, "LIFTS", known)
    with pytest.raises(SelfhealError, match="received budget"):
        list(objections())


def test_the_diagram_has_the_transitions_of_the_machine_and_no_other() -> None:
    drawn = {tuple(line.split(" --> ")) for line in state_diagram().splitlines() if "-->" in line}
    inside = {(a.strip(), b) for a, b in drawn if "[*]" not in (a.strip(), b)}
    assert inside == {(a, b) for a, following in TRANSITIONS.items() for b in following if a is not b}


def test_the_specs_are_read_from_where_they_are_declared() -> None:
    assert model_spec.PolicySpec is policy_spec.PolicySpec
    assert sections()["cost"] is CostSpec
    assert sections()["attributes"] is ModelSpec


def stories() -> dict[str, list[tuple[str, str]]]:
    """By title: the rows of the story's table."""
    (part,) = re.findall(r"## 7\. Three stories\n(.*?)\n## ", TEXT, re.S)
    found = dict[str, list[tuple[str, str]]]()
    for title, body in re.findall(r"### ([^\n]+)\n(.*?)(?=\n### |\Z)", part, re.S):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line[:1] == "|"]
        found[title] = [(what, then) for what, then in rows[2:]]
    return found


def happen(life: Life, what: str) -> None:
    """Play one row: a batch, late labels, the end of a run, or a person's promotion."""
    kind, _, said = what.partition(": ")
    seen = {signal: Status(status) for signal, status in re.findall(r"`(\w+)` (\w+)", said)}
    version = next(iter(re.findall(r"version (\d+)", said)), None)
    if kind.startswith("batch"):
        life.see(**seen)
    elif kind.startswith("labels"):
        number = int(kind.rpartition(" ")[2])
        at = next(e.event_time for e in life.situation().evidence if e.batch_id == f"b{number:03}")
        for signal, status in seen.items():
            life.evidence(Signal(signal), status, f"b{number:03}", at)
    elif kind == "by hand":
        life.outcome("by-hand", OutcomeStatus.PROMOTED, version=version)
    else:
        assert kind == "run"
        back = life.healing.tried[-1].action is Action.ROLLBACK
        status = OutcomeStatus.ROLLED_BACK if back else OutcomeStatus.PROMOTED
        life.outcome(life.healing.tried[-1].decision_id, status, version=version)
    life.settle()


@pytest.mark.parametrize("title", stories())
def test_the_stories_happen(title: str) -> None:
    life = Life(spec(cooldown_minutes=30.0))
    rows = stories()[title]
    assert len(rows) >= 5
    for what, then in rows:
        happen(life, what)
        expected = {Cause(cause): state for cause, state in re.findall(r"`(\w+)` ([A-Z]+)", then)}
        assert {cause: str(i.state) for cause, i in life.incidents.items()} == expected, what


def test_the_harmless_drift_is_refused_in_the_words_of_the_story() -> None:
    life = Life(spec())
    life.see(drift=Status.RAISED, performance=Status.CLEAR)
    (decision,) = life.decisions()
    assert decision.payload["action"] == Action.NOTHING
    assert all(f"“{words}”" in TEXT for words in decision.payload["refused"])
    assert not gather(life.ledger, life.spec, life.now).heals


def test_the_command_prints_a_model_or_says_what_it_needs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFHEAL_HOME", str(home))
    said = CliRunner().invoke(app, ["policy", "payments"])
    assert said.exit_code == 0, said.output
    assert "training.windows" in said.output
    assert "declared; default [2, 4, 8]" in said.output
    assert "[channel]" in said.output
    assert not home.exists(), "looking at a policy makes no home"
    unknown = CliRunner().invoke(app, ["policy", "nobody"])
    assert (unknown.exit_code, "received 'nobody'" in unknown.output) == (1, True)
    assert CliRunner().invoke(app, ["policy"]).exit_code == 2
    assert CliRunner().invoke(app, ["policy", "payments", "--write"]).exit_code == 2
