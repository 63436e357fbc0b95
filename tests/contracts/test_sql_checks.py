"""Singular SQL and `where` conditions on a real, sealed DuckDB."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from selfheal_assets.adapters import sql_checks
from selfheal_assets.adapters.sql_checks import evaluate_singular, readable_rows, rows_where
from selfheal_assets.core.errors import ChecksError
from selfheal_assets.core.quality import Check, CheckOutcome, CheckStatus, Scope
from selfheal_assets.ports import FrameRows


def frame() -> pd.DataFrame:
    times = pd.date_range("2026-01-01", periods=4, freq="h", tz="UTC").astype("datetime64[us, UTC]")
    return pd.DataFrame({"id": ["a", "b", None, "d"], "time": times, "x": [1.0, np.nan, np.inf, 4.0]})


def run(sql: str, rows: pd.DataFrame | None = None) -> CheckOutcome:
    check = Check(name="s", test="singular", scope=Scope.ROW, arguments={"sql": sql, "event_id": "id"})
    return evaluate_singular(FrameRows(frame() if rows is None else rows), check, "shop")


def test_no_returned_row_passes() -> None:
    assert run('select * from "shop" where x < 0').status is CheckStatus.PASSED


def test_rows_with_the_event_id_blame_those_rows() -> None:
    outcome = run('select id, x from "shop" where x > 1')
    assert outcome.status is CheckStatus.FAILED
    assert outcome.failing_rows == (2, 3)
    assert outcome.observed == 2.0
    assert outcome.sample == ({"id": None, "x": np.inf}, {"id": "d", "x": 4.0})
    assert outcome.blames_rows


def test_an_event_id_blames_every_row_that_bears_it() -> None:
    rows = pd.DataFrame({"id": ["a", "b", "a"], "x": [1, 2, 3]})
    assert run("select id from shop where x = 1", rows).failing_rows == (0, 2)


@pytest.mark.parametrize("sql", ["select count(*) as n from shop", "select 'unheard-of' as id", "select x from shop"])
def test_rows_without_a_known_event_id_blame_the_batch(sql: str) -> None:
    outcome = run(sql)
    assert outcome.status is CheckStatus.FAILED
    assert outcome.failing_rows == ()
    assert "the batch as a whole" in outcome.reason


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("selec x", "Parser Error"),
        ("", "exactly one SELECT"),
        ("select amount from shop", "amount"),
        ("select 1; select 2", "exactly one SELECT"),
        ("drop view shop", "exactly one SELECT"),
        ("copy shop to 'stolen.csv'", "exactly one SELECT"),
        ("set enable_external_access = true", "exactly one SELECT"),
        ("select * from read_csv('/etc/hostname')", "Permission Error"),
        ("select * from rows", "does not exist"),
        ("select 1 / 0 = 'text'::int from shop", "Conversion Error"),
    ],
)
def test_sql_that_cannot_run_is_errored_and_reaches_nothing(
    sql: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run(sql)
    assert outcome.status is CheckStatus.ERRORED
    assert words in outcome.reason
    assert list(tmp_path.iterdir()) == []


def test_a_query_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_checks, "QUERY_SECONDS", 0.2)
    outcome = run("select sum(a.range * b.range) as n from range(10000000) a, range(10000000) b")
    assert outcome.status is CheckStatus.ERRORED
    assert "must finish within" in outcome.reason


def test_the_batch_stays_as_it_was() -> None:
    rows = frame()
    run("select id from shop", rows)
    rows_where(FrameRows(rows), "x > 1")
    pd.testing.assert_frame_equal(rows, frame())


@pytest.mark.parametrize(
    ("condition", "mask"),
    [
        ("x > 1", [False, False, True, True]),
        ("x is null", [False, True, False, False]),
        ("id = 'a' -- a comment", [True, False, False, False]),
        ("time < timestamp '2026-01-01 01:30:00'", [True, True, False, False]),
        ("id in (select id from __batch where x = 4)", [False, False, False, True]),
    ],
)
def test_rows_where(condition: str, mask: list[bool]) -> None:
    shuffled_index = frame().set_index(pd.Index([7, 7, 1, 0]))
    assert rows_where(FrameRows(shuffled_index), condition).tolist() == mask


@pytest.mark.parametrize("condition", ["nope > 1", "x >", "x > 1) ; drop view __batch; --", "sum(x) > 1"])
def test_a_condition_that_is_none_raises(condition: str) -> None:
    with pytest.raises(ChecksError, match="a check's SQL must"):
        rows_where(FrameRows(frame()), condition)


def test_rows_where_of_an_empty_batch() -> None:
    assert rows_where(FrameRows(frame().head(0)), "x > 1").tolist() == []


def test_readable_rows_are_few_and_plain() -> None:
    rows = pd.concat([frame()] * 5)
    shown = readable_rows(rows)
    assert len(shown) == 10
    assert shown[1] == {"id": "b", "time": "2026-01-01 01:00:00+00:00", "x": None}
    assert readable_rows(pd.DataFrame({"t": ["x" * 1000]}))[0]["t"] == "x" * 200
