"""The judgement of a batch: every combination of severity, scope and status, and the share of bad rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.core.batch_gate import BatchVerdict, judge_batch
from selfheal_assets.core.quality import Check, CheckOutcome, CheckStatus, Scope, Severity


def outcome(
    status: CheckStatus,
    scope: Scope = Scope.ROW,
    severity: Severity = "error",
    rows: tuple[int, ...] = (),
    name: str = "c",
    reason: str = "because",
) -> CheckOutcome:
    check = Check(name=name, test="not_null", scope=scope, severity=severity)
    return CheckOutcome(check=check, status=status, observed=None, failing_rows=rows, reason=reason)


@pytest.mark.parametrize(
    ("status", "scope", "severity", "rows", "verdict"),
    [
        (CheckStatus.PASSED, Scope.ROW, "error", (), BatchVerdict.CLEAN),
        (CheckStatus.PASSED, Scope.TABLE, "error", (), BatchVerdict.CLEAN),
        (CheckStatus.FAILED, Scope.ROW, "error", (3,), BatchVerdict.PARTIAL),
        (CheckStatus.FAILED, Scope.ROW, "error", (), BatchVerdict.QUARANTINED),
        (CheckStatus.FAILED, Scope.TABLE, "error", (), BatchVerdict.QUARANTINED),
        (CheckStatus.FAILED, Scope.TABLE, "error", (3,), BatchVerdict.QUARANTINED),
        (CheckStatus.ERRORED, Scope.ROW, "error", (), BatchVerdict.QUARANTINED),
        (CheckStatus.ERRORED, Scope.ROW, "error", (3,), BatchVerdict.QUARANTINED),
        (CheckStatus.ERRORED, Scope.TABLE, "error", (), BatchVerdict.QUARANTINED),
        (CheckStatus.FAILED, Scope.ROW, "warn", (3,), BatchVerdict.CLEAN),
        (CheckStatus.FAILED, Scope.TABLE, "warn", (), BatchVerdict.CLEAN),
        (CheckStatus.ERRORED, Scope.TABLE, "warn", (), BatchVerdict.CLEAN),
    ],
)
def test_one_outcome(
    status: CheckStatus, scope: Scope, severity: Severity, rows: tuple[int, ...], verdict: BatchVerdict
) -> None:
    judged = judge_batch([outcome(status, scope, severity, rows)], rows=100, max_bad_row_share=0.05)
    assert judged.verdict is verdict
    assert bool(judged.reasons) == (verdict is not BatchVerdict.CLEAN)


def test_no_rows_are_quarantined_even_when_every_check_passed() -> None:
    judged = judge_batch([outcome(CheckStatus.PASSED)], rows=0, max_bad_row_share=0.05)
    assert judged.verdict is BatchVerdict.QUARANTINED
    assert judged.reasons == ("the batch has no rows: nothing could be checked",)


def test_no_checks_leave_a_batch_clean() -> None:
    assert judge_batch([], rows=1, max_bad_row_share=0.05).verdict is BatchVerdict.CLEAN


@pytest.mark.parametrize(("bad", "verdict"), [(5, BatchVerdict.PARTIAL), (6, BatchVerdict.QUARANTINED)])
def test_the_share_itself_is_allowed(bad: int, verdict: BatchVerdict) -> None:
    judged = judge_batch([outcome(CheckStatus.FAILED, rows=tuple(range(bad)))], rows=100, max_bad_row_share=0.05)
    assert judged.verdict is verdict
    assert judged.bad_rows == tuple(range(bad))


def test_bad_rows_of_all_checks_count_together_and_once() -> None:
    outcomes = [outcome(CheckStatus.FAILED, rows=(4, 1)), outcome(CheckStatus.FAILED, rows=(1, 9), name="d")]
    assert judge_batch(outcomes, rows=100, max_bad_row_share=0.03).verdict is BatchVerdict.PARTIAL
    judged = judge_batch(outcomes, rows=100, max_bad_row_share=0.02)
    assert judged.verdict is BatchVerdict.QUARANTINED
    assert judged.bad_rows == (1, 4, 9)
    assert judged.reasons[0] == "3 of 100 rows are bad: 3.00% is more than the 2.00% allowed"


def test_rows_of_a_warning_are_not_bad() -> None:
    outcomes = [outcome(CheckStatus.FAILED, rows=(1,)), outcome(CheckStatus.FAILED, severity="warn", rows=(2, 3))]
    assert judge_batch(outcomes, rows=100, max_bad_row_share=0.05).bad_rows == (1,)


def test_reasons_name_the_check_and_tell_unknown_from_failed() -> None:
    outcomes = [
        outcome(CheckStatus.ERRORED, name="a", reason="no such column"),
        outcome(CheckStatus.FAILED, Scope.TABLE, name="b", reason="too few"),
        outcome(CheckStatus.FAILED, rows=(0,), name="c", reason="1 of 100 rows fail"),
    ]
    assert judge_batch(outcomes, rows=100, max_bad_row_share=0.05).reasons == (
        "a could not be evaluated: no such column",
        "b failed: too few",
        "c failed: 1 of 100 rows fail",
    )


@given(
    failing=st.lists(st.sets(st.integers(0, 49), min_size=1), max_size=4),
    passed=st.integers(0, 3),
    share=st.floats(0.01, 0.99),
)
def test_a_batch_is_partial_exactly_when_its_bad_rows_are_within_the_share(
    failing: list[set[int]], passed: int, share: float
) -> None:
    outcomes = [outcome(CheckStatus.FAILED, rows=tuple(rows)) for rows in failing]
    judged = judge_batch([*outcomes, *[outcome(CheckStatus.PASSED)] * passed], rows=50, max_bad_row_share=share)
    bad = set().union(*failing)
    assert judged.bad_rows == tuple(sorted(bad))
    if not bad:
        assert judged.verdict is BatchVerdict.CLEAN
    else:
        assert (judged.verdict is BatchVerdict.PARTIAL) == (len(bad) / 50 <= share)
