"""The incident's state machine: every transition that there is and none besides, and the way to the ledger and back."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from itertools import product

import pytest
from given import NOW, attempt, incident
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.adapters.ledger_payload import canonical_payload, stored_form
from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.incident import (
    ENDED,
    FAILURES,
    OPEN_STATES,
    TRANSITIONS,
    Attempt,
    Incident,
    IncidentState,
    Result,
    incident_id,
)
from selfheal_assets.core.record import RecordKind

LEGAL = {
    "OPEN": {"OPEN", "DIAGNOSED", "RESOLVED"},
    "DIAGNOSED": {"DIAGNOSED", "HEALING", "VERIFYING", "SUPPRESSED", "RESOLVED", "ESCALATED", "ROLLED_BACK"},
    "SUPPRESSED": {"SUPPRESSED", "HEALING", "VERIFYING", "RESOLVED", "ESCALATED"},
    "HEALING": {"HEALING", "VERIFYING", "DIAGNOSED", "ESCALATED"},
    "VERIFYING": {"VERIFYING", "RESOLVED", "DIAGNOSED", "ROLLED_BACK", "ESCALATED"},
    "ESCALATED": {"ESCALATED", "RESOLVED"},
    "RESOLVED": set(),
    "ROLLED_BACK": set(),
}
"""Written out once more: a change of the machine is a decision, not a slip."""
PAIRS = list(product(IncidentState, repeat=2))


def test_the_machine_is_the_declared_one() -> None:
    assert {str(state): set(map(str, following)) for state, following in TRANSITIONS.items()} == LEGAL


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=[f"{a}-{b}" for a, b in PAIRS])
def test_each_transition(before: IncidentState, after: IncidentState) -> None:
    begun = incident(state=before, step=4)
    if after in LEGAL[before]:
        assert begun.to(after, "why", hold="flag") == replace(begun, state=after, reason="why", step=5, hold="flag")
        assert begun.state is before, "the one before is as it was"
    else:
        with pytest.raises(SelfhealError, match=f"that is {before} may become .*; received {after} for i1. Report"):
            begun.to(after, "why")


def test_every_state_can_be_reached_and_be_left_for_an_end() -> None:
    def reachable(begin: IncidentState) -> set[IncidentState]:
        found, left = {begin}, [begin]
        while left:
            new = TRANSITIONS[left.pop()] - found
            found |= new
            left.extend(new)
        return found

    assert reachable(IncidentState.OPEN) == set(IncidentState)
    assert all(reachable(state) & {IncidentState.RESOLVED} for state in OPEN_STATES)
    assert {IncidentState.RESOLVED, IncidentState.ROLLED_BACK} == ENDED
    assert set(OPEN_STATES) | ENDED == set(IncidentState)
    assert [incident(state=state).ended for state in IncidentState] == [state in ENDED for state in IncidentState]


def test_new_evidence_may_join_whatever_is_open() -> None:
    assert all(state in TRANSITIONS[state] for state in OPEN_STATES)


@pytest.mark.parametrize("result", Result)
def test_with_result_is_about_the_last_attempt_alone(result: Result) -> None:
    first, last = attempt(Action.REINSTATE, Result.NONE_FITS, 2.0), attempt(Action.RETRAIN, version="4")
    begun = incident(Cause.HARMFUL_DRIFT, IncidentState.HEALING, first, last)
    assert begun.with_result(result) == (first, replace(last, result=result))
    assert begun.with_result(result, "5") == (first, replace(last, result=result, version="5"))
    assert begun.tried == (first, last)


def test_what_counts_as_a_failure() -> None:
    assert set(Result) - FAILURES == {
        Result.AWAITING,
        Result.UNDER_WAY,
        Result.ACTED,
        Result.VERIFIED,
        Result.NONE_FITS,
        Result.DECLINED,
        Result.UNVERIFIABLE,
    }


moments = st.datetimes(timezones=st.just(UTC))
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
"""What a database keeps."""
measures = st.one_of(st.none(), st.floats(-1e9, 1e9))
attempts = st.builds(
    Attempt,
    action=st.sampled_from(Action),
    decision_id=words,
    decided_at=moments,
    result=st.sampled_from(Result),
    version=st.one_of(st.none(), words),
)
incidents = st.builds(
    Incident,
    id=words,
    model=words,
    cause=st.sampled_from(Cause),
    state=st.sampled_from(IncidentState),
    reason=words,
    opened_at=moments,
    batch_ids=st.lists(words, max_size=3).map(tuple),
    champion_version=st.one_of(st.none(), words),
    newest_event=st.one_of(st.none(), moments),
    step=st.integers(0, 99),
    tried=st.lists(attempts, max_size=3).map(tuple),
    hold=st.one_of(st.none(), words),
    diagnosis=words,
    features=st.lists(words, max_size=3).map(tuple),
    slices=st.lists(words, max_size=3).map(tuple),
    began_at=st.one_of(st.none(), words),
    drop=measures,
    before=measures,
    after=measures,
)


@given(incidents)
def test_an_incident_comes_back_from_the_ledger(one: Incident) -> None:
    record = stored_form(one.to_record(NOW))
    found = Incident.from_record(record)
    assert found == one
    assert [type(getattr(found, f.name)) for f in fields(one)] == [type(getattr(one, f.name)) for f in fields(one)]


def test_its_record() -> None:
    one = incident(state=IncidentState.HEALING, step=3)
    record = one.to_record(NOW)
    assert (record.key, record.kind, record.subject, record.status) == (
        "incident:i1:3",
        RecordKind.INCIDENT,
        "i1",
        "HEALING",
    )
    assert (record.model, record.event_time, record.recorded_at) == ("m", NOW, NOW)
    payload = json.loads(canonical_payload(record))
    assert payload["cause"] == "harmful_drift"
    assert payload["batch_ids"] == ["b1", "b2"]
    assert not {"id", "model", "state"} & payload.keys(), "what the record has needs no second place"


def test_each_transition_is_a_record_of_its_own() -> None:
    one = incident()
    keys = {one.to_record(NOW).key, one.to(IncidentState.DIAGNOSED, "more").to_record(NOW).key}
    assert len(keys) == 2
    assert one.to_record(NOW).key == one.to_record(datetime(2030, 1, 1, tzinfo=UTC)).key, "the clock names nothing"


def test_an_id_is_the_models_the_causes_and_the_places() -> None:
    first = incident_id("m", Cause.HARMFUL_DRIFT, 7)
    others = {
        incident_id("n", Cause.HARMFUL_DRIFT, 7),
        incident_id("m", Cause.CONCEPT_DRIFT, 7),
        incident_id("m", Cause.HARMFUL_DRIFT, 8),
    }
    assert first == incident_id("m", Cause.HARMFUL_DRIFT, 7)
    assert len(others | {first}) == 4
    assert all(len(name) == 12 and int(name, 16) >= 0 for name in others)
