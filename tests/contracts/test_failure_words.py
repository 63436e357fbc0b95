"""The words of a failed check: every test that can be declared has its own, and none shows Python's notation."""

from datetime import UTC, datetime
from typing import Any

import pytest

from selfheal_assets.adapters.dbt_checks import TESTS
from selfheal_assets.adapters.failure_words import plain, row_failure, table_failure
from selfheal_assets.core.quality import Check, Scope

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROWS = {
    "not_null": ({}, "c is missing in 3 of 9 rows; allowed no missing value"),
    "unique": ({"across_batches": True}, "c is repeated in 3 of 9 rows; allowed each value once, over all batches"),
    "accepted_values": (
        {"values": ["web", 1, True]},
        "c has another value in 3 of 9 rows (such as 7, fax, None, …); allowed web, 1, True",
    ),
    "accepted_range": (
        {"min_value": NOON, "inclusive": False},
        "c is out of range in 3 of 9 rows (such as 7, fax, None, …); "
        "allowed at least 2026-01-01 12:00:00 UTC, without these",
    ),
    "finite": ({}, "c is infinite in 3 of 9 rows; allowed finite numbers"),
    "relationships": (
        {"to": "ref('m')", "field": "id"},
        "c refers to no known row in 3 of 9 rows; allowed the id of an earlier row or clean batch",
    ),
}
AROUND = (-244.2412, 361.9412)
TABLES: dict[str, tuple[dict[str, Any], str | float, tuple[Any, Any], str]] = {
    "max_missing": ({"share": 0.5}, 0.75, (0.5, None), "share of rows without c 0.75; allowed at most 0.5"),
    "mean_between": ({"max_value": 0.3}, 0.3481, (None, 0.3), "mean of c 0.3481; allowed at most 0.3"),
    "mean_between_reference": (
        {"max_shift_sd": 3},
        5969.2288,
        AROUND,
        "mean of c 5969.23; allowed 58.85 ± 303.091 (-244.241 to 361.941), the reference's mean ± 3 sd",
    ),
    "quantile_between_reference": (
        {"quantile": 0.9, "max_shift_sd": 0.5},
        1e7,
        AROUND,
        "0.9-quantile of c 10000000; allowed 58.85 ± 303.091 (-244.241 to 361.941), "
        "the reference's 0.9-quantile ± 0.5 sd",
    ),
    "row_count": ({"min_value": 50}, 10.0, (50, 5_000_000), "10 rows; allowed 50 to 5000000"),
    "column_set": (
        {"columns": ("a", "b")},
        "missing: b; not declared: x",
        (None, None),
        "columns missing: b; not declared: x; allowed exactly the 2 declared",
    ),
    "column_types": ({"types": {"a": "float"}}, "a is string, not float", (None, None), "a is string, not float"),
    "freshness": (
        {"max_future_hours": 24},
        "2027-03-01T00:00:00.5+01:00",
        (None, NOON),
        "newest row 2027-02-28 23:00:00 UTC; allowed at most 2026-01-01 12:00:00 UTC (max_future_hours 24)",
    ),
}


def declared(test: str, arguments: dict[str, Any], where: str | None = None) -> Check:
    return Check(name="n", test=test, scope=TESTS[test].scope, column="c", arguments=arguments, where=where)


def test_every_test_has_its_words() -> None:
    assert {name for name, test in TESTS.items() if test.scope is Scope.ROW} == set(ROWS)
    assert {name for name, test in TESTS.items() if test.scope is Scope.TABLE} == set(TABLES)


@pytest.mark.parametrize("test", ROWS)
def test_of_rows(test: str) -> None:
    arguments, words = ROWS[test]
    sample = [{"c": 7}, {"c": 7}, {"c": "fax"}, {"c": None}, {"c": "x" * 90}]
    assert row_failure(declared(test, arguments), 3, 9, sample) == words
    assert row_failure(declared(test, arguments, "c > 1"), 3, 9, sample) == f"{words} (where c > 1)"


@pytest.mark.parametrize("test", TABLES)
def test_of_the_table(test: str) -> None:
    arguments, observed, bounds, words = TABLES[test]
    assert table_failure(declared(test, arguments), observed, bounds) == words


def test_long_values_and_lists_are_cut() -> None:
    check = declared("accepted_values", {"values": [f"level {place}" for place in range(40)]})
    words = row_failure(check, 1, 9, [{"c": "x" * 200}])
    assert f"(such as {'x' * 40})" in words
    assert words.endswith("level 11, …")


@pytest.mark.parametrize(
    ("value", "words"),
    [(3.0, "3"), (-1e6, "-1000000"), (1e308, "1e+308"), (float("nan"), "nan"), (float("inf"), "inf"), (True, "True")],
)
def test_plain_values(value: Any, words: str) -> None:
    assert plain(value) == words
