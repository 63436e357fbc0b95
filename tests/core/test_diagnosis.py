"""The causes behind evidence: a row for each rule of the decision table, then what a diagnosis tells besides."""

from collections.abc import Mapping
from datetime import timedelta
from itertools import chain, product
from typing import Any

import pytest
from given import NOW, SPEC, history, in_state, measured
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.core.causes import GRAVITY, Cause
from selfheal_assets.core.diagnosis import TELLS_NOTHING, Diagnosis, diagnose, look
from selfheal_assets.core.diagnosis_rules import RULES, Column, Derived
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.windows import State

CLEAR, RAISED, UNKNOWN = Status.CLEAR, Status.RAISED, Status.UNKNOWN
WELL, ONCE, PERSISTENT, DOUBT = State.CLEAR, State.RAISED, State.PERSISTENT, State.UNKNOWN
HARM, STRONG = Derived.HARM, Derived.STRONG_DRIFT
S, C = Signal, Cause

EXPLAINED = {cause: (C.SCORE_SHIFT, cause) for cause in C}
Row = tuple[Mapping[Column, State], list[tuple[Cause, Cause | None]]]
BY_RULE: list[Row] = [
    # In the order of RULES: what each column shows, and the causes, gravest first, with what explains them.
    ({HARM: ONCE, S.RELEASE: ONCE, S.DRIFT: WELL}, [(C.BAD_RELEASE, None)]),
    (
        {S.RELEASE_FAULT: ONCE, S.ERRORS: ONCE, S.LATENCY: ONCE, HARM: WELL},
        [(C.BAD_RELEASE, None), (C.SERVING_FAULT, C.BAD_RELEASE), (C.SERVING_FAULT, C.BAD_RELEASE)],
    ),
    ({S.BUSINESS: ONCE, HARM: DOUBT}, [(C.BAD_RELEASE, None)]),
    ({S.ERRORS: PERSISTENT, HARM: WELL}, [(C.SERVING_FAULT, None)]),
    ({S.TIMEOUTS: ONCE, HARM: WELL}, [(C.SERVING_FAULT, None)]),
    ({S.LATENCY: ONCE, HARM: WELL}, [(C.SERVING_FAULT, None)]),
    ({S.FEATURE_STORE: ONCE, HARM: WELL}, [(C.FEATURE_STORE_FAULT, None)]),
    ({S.QUALITY: ONCE, HARM: WELL, S.DRIFT: WELL}, [(C.BAD_DATA, None)]),
    ({S.FRESHNESS: ONCE, HARM: WELL}, [(C.UPSTREAM_STALLED, None)]),
    ({S.VOLUME: ONCE, HARM: WELL}, [(C.UPSTREAM_STALLED, None)]),
    (
        {S.PRIOR: PERSISTENT, S.CONDITIONAL: WELL, HARM: PERSISTENT, S.DRIFT: PERSISTENT},
        [(C.PRIOR_SHIFT, None), (C.HARMFUL_DRIFT, C.PRIOR_SHIFT)],
    ),
    ({HARM: PERSISTENT, S.DRIFT: ONCE}, [(C.HARMFUL_DRIFT, None)]),
    ({STRONG: PERSISTENT, HARM: DOUBT}, [(C.HARMFUL_DRIFT, None)]),
    ({HARM: PERSISTENT, S.DRIFT: WELL}, [(C.CONCEPT_DRIFT, None)]),
    ({S.TRAINING: ONCE, HARM: WELL}, [(C.TRAINING_FAULT, None)]),
    ({S.DRIFT: PERSISTENT, HARM: WELL}, [(C.BENIGN_DRIFT, None)]),
    ({S.SCORE_DRIFT: PERSISTENT, HARM: WELL, S.DRIFT: WELL}, [(C.BENIGN_DRIFT, None)]),
    ({S.SERVED_SCORES: ONCE, HARM: WELL, S.DRIFT: WELL, S.SCORE_DRIFT: WELL}, [(C.SCORE_SHIFT, None)]),
]
TOGETHER: list[Row] = [
    ({HARM: WELL, S.DRIFT: WELL}, [(C.NONE, None)]),
    ({}, [(C.UNKNOWN, None)]),
    ({HARM: WELL}, [(C.UNKNOWN, None)]),
    ({S.DRIFT: WELL}, [(C.UNKNOWN, None)]),
    ({HARM: WELL, S.DRIFT: DOUBT}, [(C.UNKNOWN, None)]),
    ({HARM: DOUBT, S.DRIFT: WELL}, [(C.UNKNOWN, None)]),
    ({HARM: ONCE, S.DRIFT: WELL}, [(C.UNKNOWN, None)]),
    ({HARM: ONCE, S.DRIFT: PERSISTENT}, [(C.UNKNOWN, None)]),
    ({HARM: DOUBT, S.DRIFT: PERSISTENT}, [(C.UNKNOWN, None)]),
    ({HARM: DOUBT, STRONG: ONCE}, [(C.UNKNOWN, None)]),
    ({HARM: WELL, STRONG: PERSISTENT}, [(C.BENIGN_DRIFT, None)]),
    ({HARM: PERSISTENT, S.DRIFT: DOUBT}, [(C.CONCEPT_DRIFT, None)]),
    ({HARM: PERSISTENT}, [(C.CONCEPT_DRIFT, None)]),
    ({HARM: PERSISTENT, S.PRIOR: PERSISTENT, S.CONDITIONAL: ONCE}, [(C.CONCEPT_DRIFT, None)]),
    ({HARM: PERSISTENT, S.PRIOR: PERSISTENT, S.CONDITIONAL: DOUBT}, [(C.CONCEPT_DRIFT, None)]),
    ({HARM: WELL, S.DRIFT: WELL, S.PRIOR: ONCE, S.CONDITIONAL: WELL}, [(C.UNKNOWN, None)]),
    ({HARM: WELL, S.DRIFT: WELL, S.PRIOR: PERSISTENT, S.CONDITIONAL: WELL}, [(C.PRIOR_SHIFT, None)]),
    ({HARM: WELL, S.DRIFT: ONCE, S.PRIOR: ONCE}, [(C.BENIGN_DRIFT, None)]),
    ({HARM: WELL, S.DRIFT: WELL, S.RELEASE: ONCE}, [(C.UNKNOWN, None)]),
    (
        {HARM: PERSISTENT, S.RELEASE: ONCE, S.DRIFT: ONCE},
        # The drift is not the release's, and nobody knows what it does to a good one.
        [(C.BAD_RELEASE, None), (C.HARMFUL_DRIFT, C.BAD_RELEASE), (C.UNKNOWN, None)],
    ),
    ({HARM: PERSISTENT, S.RELEASE: ONCE}, [(C.BAD_RELEASE, None), (C.CONCEPT_DRIFT, C.BAD_RELEASE)]),
    (
        {HARM: PERSISTENT, S.DRIFT: ONCE, S.ERRORS: ONCE, S.FRESHNESS: ONCE, S.TRAINING: ONCE},
        [(C.SERVING_FAULT, None), (C.UPSTREAM_STALLED, None), (C.HARMFUL_DRIFT, None), (C.TRAINING_FAULT, None)],
    ),
    ({S.BUSINESS: ONCE, S.ERRORS: ONCE}, [(C.BAD_RELEASE, None), (C.SERVING_FAULT, None)]),
    ({S.RELEASE_FAULT: ONCE, S.FEATURE_STORE: ONCE}, [(C.BAD_RELEASE, None), (C.FEATURE_STORE_FAULT, None)]),
    ({HARM: WELL, S.ERRORS: ONCE, S.LATENCY: ONCE}, [(C.SERVING_FAULT, None), (C.SERVING_FAULT, None)]),
    # Scores that moved are told only where nothing else is: a batch knows more, and faults explain them.
    ({S.SERVED_SCORES: ONCE}, [(C.SCORE_SHIFT, None)]),
    ({S.SERVED_SCORES: DOUBT, HARM: WELL, S.DRIFT: WELL}, [(C.NONE, None)]),
    ({S.SERVED_SCORES: ONCE, S.ERRORS: ONCE}, [(C.SERVING_FAULT, None), (C.SCORE_SHIFT, None)]),
    ({S.SERVED_SCORES: ONCE, S.FEATURE_STORE: ONCE}, [(C.FEATURE_STORE_FAULT, None), EXPLAINED[C.FEATURE_STORE_FAULT]]),
    ({S.SERVED_SCORES: ONCE, S.QUALITY: ONCE}, [(C.BAD_DATA, None), EXPLAINED[C.BAD_DATA]]),
    ({S.SERVED_SCORES: ONCE, S.RELEASE_FAULT: ONCE}, [(C.BAD_RELEASE, None), EXPLAINED[C.BAD_RELEASE]]),
    ({S.SERVED_SCORES: ONCE, S.BUSINESS: ONCE}, [(C.BAD_RELEASE, None), EXPLAINED[C.BAD_RELEASE]]),
    ({S.SERVED_SCORES: ONCE, HARM: PERSISTENT, S.DRIFT: ONCE}, [(C.HARMFUL_DRIFT, None)]),
    ({S.SERVED_SCORES: ONCE, HARM: PERSISTENT, S.DRIFT: WELL}, [(C.CONCEPT_DRIFT, None)]),
    ({S.SERVED_SCORES: ONCE, HARM: WELL, S.SCORE_DRIFT: ONCE}, [(C.BENIGN_DRIFT, None)]),
    ({S.SERVED_SCORES: ONCE, HARM: DOUBT, S.DRIFT: ONCE}, [(C.UNKNOWN, None)]),
    ({S.SERVED_SCORES: ONCE, HARM: ONCE, S.DRIFT: WELL}, [(C.UNKNOWN, None)]),
    ({S.SERVED_SCORES: ONCE, HARM: WELL, S.PRIOR: ONCE}, [(C.UNKNOWN, None)]),
    ({S.SERVED_SCORES: ONCE, HARM: WELL, S.RELEASE: ONCE}, [(C.UNKNOWN, None)]),
]


def seen(columns: Mapping[Column, State]) -> list[Evidence]:
    return list(chain.from_iterable(in_state(column, state) for column, state in columns.items()))


def diagnosed(evidence: list[Evidence], **changes: Any) -> tuple[Diagnosis, ...]:
    return diagnose(look(SPEC, evidence, **changes))


def causes(evidence: list[Evidence]) -> list[tuple[Cause, Cause | None]]:
    return [(found.cause, found.explained_by) for found in diagnosed(evidence)]


@pytest.mark.parametrize("number", range(len(RULES)), ids=[f"{n}-{rule.cause}" for n, rule in enumerate(RULES)])
def test_each_rule(number: int) -> None:
    columns, expected = BY_RULE[number]
    assert look(SPEC, seen(columns)).matches(RULES[number])
    assert causes(seen(columns)) == expected
    assert RULES[number].why in next(d.reason for d in diagnosed(seen(columns)) if d.cause is RULES[number].cause)


def test_every_rule_has_its_row() -> None:
    assert len(BY_RULE) == len(RULES)


@pytest.mark.parametrize(("columns", "expected"), TOGETHER, ids=[str(dict(row)) for row, _ in TOGETHER])
def test_rules_together(columns: Mapping[Column, State], expected: list[tuple[Cause, Cause | None]]) -> None:
    assert causes(seen(columns)) == expected


def test_the_rules_stand_in_the_order_of_gravity() -> None:
    places = [GRAVITY.index(rule.cause) for rule in RULES]
    assert places == sorted(places)
    assert {rule.cause for rule in RULES} == set(Cause) - {Cause.NO_CHAMPION, Cause.UNKNOWN, Cause.NONE}


def test_what_a_rule_needs_it_explains_unless_it_is_not_raised() -> None:
    """Else the evidence for a cause would be told once more, as doubt."""
    for rule in RULES:
        assert rule.subject in rule.explains
        unexplained = {c for c, states in rule.needs.items() if WELL not in states} - rule.explains - TELLS_NOTHING
        assert not unexplained - {HARM}, rule


# Which evidence counts.


def test_realised_performance_stands_before_estimated() -> None:
    moved = history(S.DRIFT, "RR")
    estimated, realised = history(S.ESTIMATED_PERFORMANCE, "CC"), history(S.PERFORMANCE, "RR")
    assert causes([*moved, *estimated]) == [(C.BENIGN_DRIFT, None)]
    assert causes([*moved, *estimated, *realised]) == [(C.HARMFUL_DRIFT, None)]
    assert causes([*moved, *estimated, *history(S.PERFORMANCE, "UU")]) == [(C.BENIGN_DRIFT, None)]
    assert causes([*moved, *history(S.ESTIMATED_PERFORMANCE, "RR"), *history(S.PERFORMANCE, "CC")]) == [
        (C.BENIGN_DRIFT, None)
    ]
    assert causes([*moved, *history(S.ESTIMATED_PERFORMANCE, "UU"), *history(S.PERFORMANCE, "UU")]) == [
        (C.UNKNOWN, None)
    ]


def test_estimates_of_newer_batches_do_not_hide_harm_that_labels_proved() -> None:
    """Labels that come two or more batches late, and a change that an estimate cannot see."""
    for late in range(5):
        letters = "CRR" + "C" * late
        estimates, labels = history(S.ESTIMATED_PERFORMANCE, letters.replace("R", "C")), history(S.PERFORMANCE, "CRR")
        assert causes([*history(S.DRIFT, "C" * len(letters)), *estimates, *labels]) == [(C.CONCEPT_DRIFT, None)]


def test_the_sequential_test_is_harm_at_once_and_only_its_last_word_counts() -> None:
    well = [*history(S.DRIFT, "CCC"), *history(S.PERFORMANCE, "CCC")]
    assert causes([*well, *history(S.RISK, "CCR")]) == [(C.CONCEPT_DRIFT, None)]
    assert causes([*well, *history(S.RISK, "CRC")]) == [(C.NONE, None)]
    assert causes([*well, *history(S.RISK, "RRU")]) == [(C.NONE, None)]


@pytest.mark.parametrize("signal", [S.VOLUME, S.FRESHNESS, S.TRAINING])
def test_of_what_looks_back_by_itself_the_last_word_counts(signal: Signal) -> None:
    well = [*history(S.DRIFT, "CC"), *history(S.PERFORMANCE, "CC")]
    assert causes([*well, *history(signal, "RRC")]) == [(C.NONE, None)]
    assert causes([*well, *history(signal, "CCR")])[0][0] is not C.NONE


def test_a_batch_that_broke_its_checks_counts_for_nothing_else() -> None:
    evidence = [
        *history(S.QUALITY, "CCR"),
        *history(S.DRIFT, "CCR", value=0.9),
        *history(S.PERFORMANCE, "CCR"),
        *history(S.PRIOR, "CCR"),
    ]
    found = diagnosed(evidence)
    assert [(d.cause, d.batch_ids) for d in found] == [(C.BAD_DATA, ("b3",))]


def test_when_all_of_the_last_broke_their_checks_their_clean_rows_count() -> None:
    def with_quality(letters: str) -> list[Cause]:
        others = [*history(S.DRIFT, "RRR"), *history(S.PERFORMANCE, "RRR")]
        return [cause for cause, _ in causes([*history(S.QUALITY, letters), *others])]

    assert with_quality("RRR") == [C.BAD_DATA, C.HARMFUL_DRIFT]
    assert with_quality("RRC") == [C.BAD_DATA, C.UNKNOWN]
    assert with_quality("CRR") == [C.BAD_DATA, C.UNKNOWN]


def test_a_broken_batch_is_told_until_an_incident_has_taken_it_in() -> None:
    evidence = [*history(S.QUALITY, "RCRC"), *history(S.DRIFT, " C C"), *history(S.PERFORMANCE, " C C")]
    found = diagnosed(evidence)
    assert [(d.cause, d.batch_ids) for d in found] == [(C.BAD_DATA, ("b1", "b3"))]
    found = diagnosed(evidence, attended={"b1"})
    assert [(d.cause, d.batch_ids) for d in found] == [(C.BAD_DATA, ("b3",))]
    assert [d.cause for d in diagnosed(evidence, attended={"b1", "b3"})] == [C.NONE]


def test_drift_is_strong_only_where_it_is_raised_so_far_and_so_often() -> None:
    def drifting(*values: float | None) -> list[tuple[Cause, Cause | None]]:
        return causes([measured(S.DRIFT, RAISED, number, value) for number, value in enumerate(values)])

    limit = SPEC.policy.strong_psi
    assert drifting(limit, limit) == [(C.HARMFUL_DRIFT, None)]
    assert drifting(limit, 0.99 * limit) == [(C.UNKNOWN, None)]
    assert drifting(limit, None) == [(C.UNKNOWN, None)]
    assert drifting(float("nan"), float("nan")) == [(C.UNKNOWN, None)]


# What is told besides the cause.

FEATURES = [
    {"feature": "common", "psi": 0.4, "importance": 0.5, "status": "RAISED"},
    {"feature": "far", "psi": 4.0, "importance": 0.01, "status": "RAISED"},
    {"feature": "heavy", "psi": 0.3, "importance": 0.9, "status": "RAISED"},
    {"feature": "still", "psi": 9.0, "importance": 0.9, "status": "CLEAR"},
    {"feature": "unweighed", "psi": 3.0, "importance": None, "status": "RAISED"},
    {"feature": "unmeasured", "psi": float("nan"), "importance": 0.3, "status": "RAISED"},
    {"feature": "a", "psi": 0.21, "importance": 0.02, "status": "RAISED"},
]


def test_features_are_named_by_psi_times_importance() -> None:
    drift = [measured(S.DRIFT, RAISED, 1), measured(S.DRIFT, RAISED, 2, details={"features": FEATURES})]
    harmful = diagnosed([*drift, *history(S.PERFORMANCE, "RR")])[0]
    assert harmful.features == ("heavy", "common", "far", "a", "unweighed")
    assert diagnosed([*drift, *history(S.PERFORMANCE, "CC")])[0].features == harmful.features
    doubt = diagnosed([*drift, *history(S.PERFORMANCE, "UU")])[0]
    assert (doubt.cause, doubt.features) == (C.UNKNOWN, harmful.features)


def test_a_cause_that_is_not_about_the_inputs_names_none() -> None:
    drift = history(S.DRIFT, "RR", details={"features": FEATURES})
    found = diagnosed([*drift, *history(S.PERFORMANCE, "CC"), *history(S.ERRORS, "R")])
    assert {d.cause: d.features for d in found}[C.SERVING_FAULT] == ()
    assert diagnosed(history(S.PERFORMANCE, "RR"))[0].features == ()


def test_the_slices_are_those_of_the_newest_harmed_batch() -> None:
    def fallen(*names: str) -> dict[str, Any]:
        return {"slices": [{"slice": name, "drop": 0.2} for name in names]}

    harm = [
        measured(S.PERFORMANCE, RAISED, 1, details=fallen("country=US")),
        measured(S.PERFORMANCE, RAISED, 2, details=fallen("country=BR", "device=web")),
        measured(S.PERFORMANCE, UNKNOWN, 3, details=fallen("country=FR")),
    ]
    assert diagnosed(harm)[0].slices == ("country=BR", "device=web")
    assert diagnosed(history(S.PERFORMANCE, "RR"))[0].slices == ()


def test_the_onset_is_where_the_signal_of_the_cause_changed() -> None:
    values = [0.90, 0.91, 0.90, 0.71, 0.70]
    harm = [
        measured(S.PERFORMANCE, RAISED if value < 0.8 else CLEAR, number, value)
        for number, value in enumerate(values, start=1)
    ]
    assert diagnosed(harm[::-1])[0].began_at == "b4"
    assert diagnosed(harm[-3:])[0].began_at is None, "too few to say"
    drift = [
        measured(S.DRIFT, RAISED if psi > 0.2 else CLEAR, number, psi)
        for number, psi in enumerate([0.01, 0.02, 0.4, 0.41], start=1)
    ]
    assert diagnosed([*drift, *history(S.PERFORMANCE, "CCCC")])[0].began_at == "b3"


def test_the_drop_is_the_mean_distance_of_the_harmed_batches_from_the_champions_own() -> None:
    own = {"champion_metric": 0.9}
    harm = [
        measured(S.PERFORMANCE, RAISED, 1, 0.7, details=own),
        measured(S.PERFORMANCE, CLEAR, 2, 0.9, details=own),
        measured(S.PERFORMANCE, RAISED, 3, 0.6, details=own),
    ]
    assert diagnosed(harm)[0].drop == pytest.approx(0.25)
    assert diagnosed(history(S.PERFORMANCE, "RR"))[0].drop is None
    worse_is_more = history(S.PERFORMANCE, "RR", value=0.8, details={"champion_metric": 0.5})
    assert diagnosed(worse_is_more)[0].drop == pytest.approx(0.3)
    assert diagnosed([*history(S.DRIFT, "CC"), *history(S.PERFORMANCE, "CC", details=own)])[0].drop is None


def test_the_batches_are_those_whose_evidence_is_raised_oldest_first() -> None:
    """Of what the cause is about: drift of another batch is no part of the harm."""
    found = diagnosed([*history(S.DRIFT, "CRC"), *history(S.PERFORMANCE, "RCR")][::-1])[0]
    assert found.batch_ids == ("b1", "b3")
    assert found.newest_event == NOW + timedelta(days=3)
    doubt = diagnosed(history(S.PERFORMANCE, "CR"))[0]
    assert (doubt.cause, doubt.batch_ids) == (C.UNKNOWN, ("b2",))
    assert diagnosed([])[0].batch_ids == ()
    assert diagnosed([])[0].newest_event is None


def test_a_statement_that_bears_the_time_of_its_measurement_does_not_date_a_batch() -> None:
    """The sequential test looks at all labels so far; data may be older, or newer, than the clock."""
    for clock in (timedelta(days=-1000), timedelta(days=1000)):
        alarm = measured(S.RISK, RAISED, 1, event_time=NOW + clock)
        found = diagnosed([*history(S.PERFORMANCE, "CR"), *history(S.RELEASE, "CR"), alarm])[0]
        assert found.cause is C.BAD_RELEASE
        assert found.batch_ids == ("b1", "b2")
        assert found.newest_event == NOW + timedelta(days=2)


def test_doubt_says_what_it_saw_and_what_it_did_not() -> None:
    (found,) = diagnosed([*history(S.DRIFT, "RR"), *history(S.PERFORMANCE, "UU")])
    assert found.reason.startswith("no rule explains it yet: drift raised in 2 of the last 2")
    assert "performance unknown (performance of b2)" in found.reason
    (nothing,) = diagnosed([])
    assert nothing.reason == "drift not measured; performance not measured"
    (well,) = diagnosed([*history(S.DRIFT, "C"), *history(S.PERFORMANCE, "C")])
    assert well.reason == "drift and performance are clear"


# What holds for all evidence.

columns_ = st.sampled_from([*Signal])
evidences = st.lists(
    st.builds(
        measured,
        columns_,
        st.sampled_from(list(Status)),
        st.integers(1, 5),
        st.one_of(st.none(), st.floats(0.0, 2.0), st.just(float("nan"))),
    ),
    max_size=14,
    unique_by=lambda e: (e.signal, e.batch_id),
)


@given(evidences, st.randoms(use_true_random=False))
def test_no_order_of_evidence_changes_a_diagnosis(evidence: list[Evidence], random: Any) -> None:
    shuffled = evidence[:]
    random.shuffle(shuffled)
    assert repr(diagnosed(evidence)) == repr(diagnosed(shuffled))


@given(evidences)
def test_what_is_raised_and_believed_is_accounted_for(evidence: list[Evidence]) -> None:
    """By a cause or by doubt: nothing that a rule could ask for is passed over in silence."""
    view = look(SPEC, evidence)
    found = diagnose(view)
    blamed = {batch for diagnosis in found for batch in diagnosis.batch_ids}
    for column in view.raised():
        assert (
            {e.batch_id for e in view.windows[column].raised} <= blamed
            or column is Derived.HARM
            or any(column in rule.explains for rule in RULES if rule.cause in {d.cause for d in found})
        )
    shifted = found[0].cause is C.SCORE_SHIFT
    assert shifted <= (not view.raised()), "it is the last that is told"
    assert (bool(view.raised()) or shifted) == (found[0].cause is not C.NONE and bool(found[0].batch_ids))


@given(evidences)
def test_causes_come_in_the_order_of_gravity_and_are_explained_by_graver_ones(evidence: list[Evidence]) -> None:
    found = diagnosed(evidence)
    places = [GRAVITY.index(d.cause) for d in found]
    assert places == sorted(places)
    for diagnosis in found:
        if diagnosis.explained_by:
            assert GRAVITY.index(diagnosis.explained_by) < GRAVITY.index(diagnosis.cause)
            assert diagnosis.explained_by in [d.cause for d in found if d.explained_by is None]


def test_no_two_rules_of_the_metric_hold_of_the_same_evidence() -> None:
    """Harmful drift, concept drift and benign drift exclude each other, whatever the states."""
    for harm, drift, score in product(State, repeat=3):
        columns: dict[Column, State] = {HARM: harm, S.DRIFT: drift, S.SCORE_DRIFT: score}
        found = {d.cause for d in diagnosed(seen(columns))}
        assert len(found & {C.HARMFUL_DRIFT, C.CONCEPT_DRIFT, C.BENIGN_DRIFT}) <= 1
