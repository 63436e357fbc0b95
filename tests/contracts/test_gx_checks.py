"""Every declared test on real Great Expectations: passing, failing, unknown; odd frames."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from selfheal_assets.adapters import gx_checks
from selfheal_assets.adapters.dbt_checks import TESTS
from selfheal_assets.adapters.gx_checks import GreatExpectationsChecks
from selfheal_assets.core.batch_gate import BatchVerdict, judge_batch
from selfheal_assets.core.quality import Check, CheckOutcome, CheckStatus, Scope
from selfheal_assets.ports import CheckContext

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PASSED, FAILED, ERRORED = CheckStatus.PASSED, CheckStatus.FAILED, CheckStatus.ERRORED
Known = dict[str, set[str]]


def times(*hours: float) -> pd.Series:
    return pd.Series([NOW + timedelta(hours=hour) for hour in hours]).astype("datetime64[us, UTC]")


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": ["a", "b", "c", "d", "e", "f"],
            "time": times(-5, -4, -3, -2, -1, 0),
            "device": ["ios", None, "web", "ios", "web", "fax"],
            "amount": [10.0, np.nan, 30.0, np.inf, 50.0, -1.0],
            "count": [1, 2, 3, 4, 5, 6],
            "origin": [None, "a", "z", "d", "f", "old"],
            "twice": ["x", "x", "y", None, None, "z"],
            "empty": [None] * 6,
            "words": ["1", "2", "3", "4", "5", "6"],
        }
    )


def check(test: str, column: str | None = None, name: str = "", **settings: Any) -> Check:
    arguments = settings.pop("arguments", {})
    return Check(
        name=name or f"{test}_{column}",
        test=test,
        scope=TESTS[test].scope,
        column=column,
        arguments=arguments,
        **settings,
    )


def context(reference: pd.DataFrame | None = None, known: Known | None = None, **settings: Any) -> CheckContext:
    def earlier(column: str, values: pd.Series) -> pd.Series:
        return values.isin((known or {}).get(column, set()))

    given = {"model": "shop", "batch_id": "b-1", "now": NOW, "event_timestamp": "time", **settings}
    return CheckContext(reference=reference, earlier=earlier, **given)


@pytest.fixture(scope="module")
def checks_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[CheckOutcome]]:
    adapter = GreatExpectationsChecks(tmp_path_factory.mktemp("home"))

    def evaluate(rows: pd.DataFrame, checks: list[Check], given: CheckContext | None = None) -> list[CheckOutcome]:
        return adapter.evaluate(rows, checks, given or context())

    return evaluate


Evaluate = Callable[..., list[CheckOutcome]]

ROW_CASES = [
    ("not_null", "id", {}, {}, ()),
    ("not_null", "device", {}, {}, (1,)),
    ("not_null", "device", {}, {"where": "amount < 20"}, ()),
    ("not_null", "device", {}, {"where": "time < timestamp '2026-01-01 22:00:00'"}, (1,)),
    ("not_null", "empty", {}, {}, (0, 1, 2, 3, 4, 5)),
    ("unique", "count", {}, {}, ()),
    ("unique", "twice", {}, {}, (0, 1)),
    ("unique", "twice", {}, {"where": "id <> 'a'"}, ()),
    ("unique", "id", {"across_batches": True}, {}, (4,)),
    ("accepted_values", "device", {"values": ["ios", "web", "fax"]}, {}, ()),
    ("accepted_values", "device", {"values": ["ios", "web"]}, {}, (5,)),
    ("accepted_values", "count", {"values": [1, 2, 3, 4, 5]}, {}, (5,)),
    ("accepted_values", "empty", {"values": ["ios"]}, {}, ()),
    ("accepted_range", "count", {"min_value": 1, "max_value": 6}, {}, ()),
    ("accepted_range", "count", {"min_value": 1, "max_value": 6, "inclusive": False}, {}, (0, 5)),
    ("accepted_range", "amount", {"min_value": 0}, {}, (5,)),
    ("accepted_range", "amount", {"max_value": 40}, {}, (3, 4)),
    ("accepted_range", "amount", {"max_value": 40}, {"where": "count <= 4"}, (3,)),
    ("accepted_range", "time", {"min_value": NOW - timedelta(hours=3)}, {}, (0, 1)),
    ("accepted_range", "time", {"max_value": NOW, "inclusive": False}, {}, (5,)),
    ("finite", "count", {}, {}, ()),
    ("finite", "amount", {}, {}, (3,)),
    ("relationships", "origin", {"to": "ref('shop')", "field": "id"}, {}, (2, 3, 4)),
    ("relationships", "empty", {"to": "ref('shop')", "field": "id"}, {}, ()),
    ("relationships", "twice", {"to": "ref('shop')", "field": "id"}, {}, (0, 1, 2, 5)),
]


def test_row_tests_name_exactly_the_failing_rows(checks_of: Evaluate) -> None:
    checks = [
        check(test, column, name=f"case_{place}", arguments=arguments, **settings)
        for place, (test, column, arguments, settings, _) in enumerate(ROW_CASES)
    ]
    outcomes = checks_of(frame(), checks, context(known={"id": {"e", "old"}}))
    assert [outcome.check for outcome in outcomes] == checks
    for case, outcome in zip(ROW_CASES, outcomes, strict=True):
        failing = case[-1]
        assert (outcome.status, outcome.failing_rows, case) == (FAILED if failing else PASSED, failing, case)
        assert outcome.observed == len(failing)
        assert [row["id"] for row in outcome.sample] == [frame()["id"][row] for row in failing]
        assert all(set(row) == set(frame()) for row in outcome.sample)


TABLE_CASES = [
    ("max_missing", "amount", {"share": 0.2}, {}, PASSED),
    ("max_missing", "device", {"share": 0.1}, {}, FAILED),
    ("max_missing", "device", {"share": 0.1}, {"where": "id <> 'b'"}, PASSED),
    ("max_missing", "empty", {"share": 1.0}, {}, PASSED),
    ("row_count", None, {"min_value": 6, "max_value": 6}, {}, PASSED),
    ("row_count", None, {"min_value": 7}, {}, FAILED),
    ("row_count", None, {"max_value": 5}, {}, FAILED),
    ("row_count", None, {"max_value": 5}, {"where": "count > 1"}, PASSED),
    ("column_set", None, {"columns": tuple(frame())}, {}, PASSED),
    ("column_set", None, {"columns": (*frame(), "more")}, {}, FAILED),
    ("column_set", None, {"columns": tuple(frame())[1:]}, {}, FAILED),
    ("column_types", None, {"types": {"id": "string", "time": "timestamp", "amount": "float"}}, {}, PASSED),
    ("column_types", None, {"types": {"amount": "integer"}}, {}, FAILED),
    ("column_types", None, {"types": {"count": "float", "empty": "boolean"}}, {}, PASSED),
    ("freshness", None, {"max_age_hours": 1, "max_future_hours": 0}, {}, PASSED),
    ("freshness", None, {"max_age_hours": 1}, {"where": "count < 5"}, FAILED),
    ("mean_between_reference", "count", {"max_shift_sd": 1}, {}, PASSED),
    ("mean_between_reference", "count", {"max_shift_sd": 0.1}, {"where": "count > 3"}, PASSED),
    ("mean_between_reference", "amount", {"max_shift_sd": 1}, {}, FAILED),
    ("quantile_between_reference", "count", {"quantile": 0.5, "max_shift_sd": 1}, {}, PASSED),
    ("quantile_between_reference", "amount", {"quantile": 0.5, "max_shift_sd": 1}, {}, FAILED),
    ("mean_between_reference", "empty", {"max_shift_sd": 1}, {}, ERRORED),
    ("mean_between", "count", {"min_value": 3.5, "max_value": 3.5}, {}, PASSED),
    ("mean_between", "count", {"max_value": 3.4}, {}, FAILED),
    ("mean_between", "count", {"min_value": 4}, {"where": "count > 1"}, PASSED),
    ("mean_between", "empty", {"min_value": 0}, {}, ERRORED),
]

TABLE_REASONS = {
    1: "share of rows without device 0.166667; allowed at most 0.1",
    5: "6 rows; allowed at least 7",
    6: "6 rows; allowed at most 5",
    9: "columns missing: more; allowed exactly the 10 declared",
    10: "columns not declared: id; allowed exactly the 8 declared",
    12: "amount is float, not integer",
    15: "newest row 2026-01-01 22:00:00 UTC; allowed at least 2026-01-01 23:00:00 UTC (max_age_hours 1)"
    " (where count < 5)",
    18: "mean of amount inf; allowed 2.5 ± 1.11803 (1.38197 to 3.61803), the reference's mean ± 1 sd",
    20: "median of amount 30; allowed 2.5 ± 1.11803 (1.38197 to 3.61803), the reference's median ± 1 sd",
    21: "there are no values to compare",
    23: "mean of count 3.5; allowed at most 3.4",
    25: "there are no values to compare",
}


def test_table_tests(checks_of: Evaluate) -> None:
    checks = [
        check(test, column, name=f"case_{place}", arguments=arguments, **settings)
        for place, (test, column, arguments, settings, _) in enumerate(TABLE_CASES)
    ]
    reference = frame().assign(amount=[1.0, 2.0, 3.0, 4.0, np.nan, np.inf], empty=1.0)
    outcomes = checks_of(frame(), checks, context(reference=reference))
    assert [(case, outcome.status) for case, outcome in zip(TABLE_CASES, outcomes, strict=True)] == [
        (case, case[-1]) for case in TABLE_CASES
    ]
    assert all(outcome.failing_rows == () for outcome in outcomes)
    assert all(outcome.reason for outcome in outcomes if outcome.status is not PASSED)
    assert outcomes[4].observed == 6.0
    assert outcomes[1].observed == pytest.approx(1 / 6)
    assert outcomes[9].observed == "missing: more"
    assert outcomes[14].observed == NOW.isoformat()
    assert {case: outcome.reason for case, outcome in enumerate(outcomes) if outcome.reason} == TABLE_REASONS


def test_column_types_tell_what_is_wrong_and_never_crash(checks_of: Evaluate) -> None:
    wanted = {
        "words": "integer",
        "amount": "integer",
        "count": "boolean",
        "time": "string",
        "gone": "float",
        "id": "string",
    }
    (outcome,) = checks_of(frame(), [check("column_types", arguments={"types": wanted})])
    assert outcome.status is FAILED
    assert outcome.observed == outcome.reason
    assert outcome.reason == (
        "words is string, not integer; amount is float, not integer; count is integer, not boolean; "
        "time is timestamp, not string; gone is absent, not float"
    )


def test_freshness_of_a_batch_that_lies_ahead(checks_of: Evaluate) -> None:
    (outcome,) = checks_of(
        frame(), [check("freshness", arguments={"max_future_hours": 1})], context(now=NOW - timedelta(hours=2))
    )
    assert outcome.status is FAILED


def test_without_a_reference_its_tests_pass_and_say_so(checks_of: Evaluate) -> None:
    checks = [
        check("mean_between_reference", "amount", arguments={"max_shift_sd": 1}),
        check("quantile_between_reference", "amount", arguments={"quantile": 0.5, "max_shift_sd": 1}),
    ]
    outcomes = checks_of(frame(), checks)
    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [(PASSED, "no reference yet")] * 2


def test_what_cannot_be_evaluated_is_errored_and_spoils_no_other_check(checks_of: Evaluate) -> None:
    def broken(_column: str, _values: pd.Series) -> pd.Series:
        raise OSError("the history is gone")

    reference = frame()[["id"]]
    checks = [
        check("not_null", "id"),
        check("not_null", "gone"),
        check("mean_between_reference", "gone", arguments={"max_shift_sd": 1}),
        check("accepted_range", "words", arguments={"min_value": 1}),
        check("finite", "words"),
        check("not_null", "device", where="no_such_column > 1"),
        check("unique", "id", arguments={"across_batches": True}),
        check("mean_between_reference", "amount", arguments={"max_shift_sd": 1}),
        check("relationships", "origin", arguments={"to": "ref('shop')", "field": "gone"}),
        replace(check("not_null", "twice"), test="planned"),
    ]
    outcomes = checks_of(frame(), checks, replace(context(reference=reference), earlier=broken))
    assert [outcome.status for outcome in outcomes] == [PASSED] + [ERRORED] * 9
    reasons = [outcome.reason for outcome in outcomes[1:]]
    for reason, words in zip(
        reasons,
        [
            "column 'gone' is not in the batch",
            "column 'gone' is not in the batch",
            "Great Expectations could not evaluate it: Column values, min_value, and max_value must",
            "Great Expectations could not evaluate it: Column values, min_value, and max_value must",
            "no_such_column",
            "OSError: the history is gone",
            "column 'amount' is not in the reference",
            "columns ['gone'] are not in the batch",
            "_planned",
        ],
        strict=True,
    ):
        assert words in reason
    assert judge_batch(outcomes, 6, 0.05).verdict is BatchVerdict.QUARANTINED


def test_a_crash_of_the_library_is_errored(checks_of: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_batch: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(gx_checks, "_validate", crash)
    (outcome,) = checks_of(frame(), [check("not_null", "id")])
    assert (outcome.status, outcome.reason) == (ERRORED, "Great Expectations could not run: RuntimeError: out of order")


ALL_TESTS = [
    check("not_null", "id"),
    check("unique", "id", arguments={"across_batches": True}),
    check("accepted_values", "device", arguments={"values": ["ios", "web", "fax"]}),
    check("accepted_range", "amount", arguments={"min_value": 0, "max_value": 100}),
    check("accepted_range", "time", arguments={"min_value": NOW - timedelta(days=1)}, where="count > 0"),
    check("finite", "count"),
    check("relationships", "origin", arguments={"to": "ref('shop')", "field": "id"}),
    check("max_missing", "device", arguments={"share": 0.5}),
    check("mean_between_reference", "count", arguments={"max_shift_sd": 3}),
    check("quantile_between_reference", "count", arguments={"quantile": 0.5, "max_shift_sd": 3}),
    check("row_count", arguments={"min_value": 1}),
    check("column_set", arguments={"columns": tuple(frame())}),
    check("column_types", arguments={"types": {"id": "string", "count": "integer"}}),
    check("freshness", arguments={"max_age_hours": 24}),
    Check(
        name="assert_amounts",
        test="singular",
        scope=Scope.ROW,
        arguments={"sql": 'select id from "shop" where amount < 0', "event_id": "id"},
    ),
]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (frame().head(1), {}),
        (
            frame().head(0),
            {
                "row_count_None": FAILED,
                "max_missing_device": FAILED,
                "freshness_None": ERRORED,
                "mean_between_reference_count": ERRORED,
                "quantile_between_reference_count": ERRORED,
            },
        ),
        (
            pd.DataFrame(index=range(2)),
            {each.name: ERRORED for each in ALL_TESTS}
            | {"row_count_None": PASSED, "column_set_None": FAILED, "column_types_None": FAILED},
        ),
        (
            frame().assign(**dict.fromkeys(frame(), None)),
            {
                "not_null_id": FAILED,
                "max_missing_device": FAILED,
                "freshness_None": ERRORED,
                "mean_between_reference_count": ERRORED,
                "quantile_between_reference_count": ERRORED,
            },
        ),
    ],
    ids=["one row", "no rows", "no columns", "all null"],
)
def test_odd_frames_give_defined_answers(
    checks_of: Evaluate, rows: pd.DataFrame, expected: dict[str, CheckStatus]
) -> None:
    outcomes = checks_of(rows, ALL_TESTS, context(reference=frame()))
    found = {outcome.check.name: outcome.status for outcome in outcomes if outcome.status is not PASSED}
    assert found == {name: status for name, status in expected.items() if status is not PASSED}


def test_a_repeated_column_name_is_never_clear(checks_of: Evaluate) -> None:
    rows = pd.concat([frame(), frame()[["id"]]], axis=1)
    outcomes = {outcome.check.name: outcome for outcome in checks_of(rows, ALL_TESTS, context(reference=frame()))}
    assert outcomes["column_set_None"].status is not PASSED
    assert outcomes["not_null_id"].status is not PASSED


def test_positions_do_not_depend_on_the_index_and_the_batch_stays_as_it_was(checks_of: Evaluate) -> None:
    rows = frame().set_index(pd.Index([9, 9, 3, 2, 1, 0], name="odd"))
    before = rows.copy()
    outcomes = checks_of(
        rows, [check("not_null", "device"), check("unique", "twice"), check("finite", "amount", where="count > 2")]
    )
    assert [outcome.failing_rows for outcome in outcomes] == [(1,), (0, 1), (3,)]
    pd.testing.assert_frame_equal(rows, before)


def test_frames_of_pandas_own_types(checks_of: Evaluate) -> None:
    rows = frame().astype({"id": "string", "device": "string", "origin": "string", "count": "Int64"})
    checks = [
        check("relationships", "origin", arguments={"to": "ref('shop')", "field": "id"}),
        check("unique", "id", arguments={"across_batches": True}),
        check("accepted_range", "count", arguments={"max_value": 5}),
        check("accepted_values", "device", arguments={"values": ["ios", "web"]}, where="count <> 6"),
        check("column_types", arguments={"types": {"id": "string", "count": "integer", "device": "string"}}),
    ]
    outcomes = checks_of(rows, checks, context(known={"id": {"e", "old"}}))
    assert [outcome.failing_rows for outcome in outcomes] == [(2, 3, 4), (4,), (5,), (), ()]
    assert outcomes[-1].status is PASSED


def test_all_positions_but_ten_samples_of_many_failures(checks_of: Evaluate) -> None:
    rows = pd.DataFrame({"id": [None] * 3000})
    (outcome,) = checks_of(rows, [check("not_null", "id")])
    assert outcome.failing_rows == tuple(range(3000))
    assert len(outcome.sample) == 10
