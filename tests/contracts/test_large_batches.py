"""A batch of many parts is read, checked and written as one: the same rows, types, verdicts and reasons."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from selfheal_assets.adapters.batch_store import FileBatchStore
from selfheal_assets.adapters.gx_checks import GreatExpectationsChecks
from selfheal_assets.adapters.sql_checks import rows_where
from selfheal_assets.adapters.stored_rows import StoredRows, from_parts, write_parquet
from selfheal_assets.adapters.tables import read_table
from selfheal_assets.core.errors import BatchError, UnreadableFileError
from selfheal_assets.core.quality import Check, CheckOutcome, CheckStatus, Scope
from selfheal_assets.ports import BatchRows, CheckContext, FrameRows, batch_rows

pytestmark = pytest.mark.usefixtures("quick_collections")

PART, ROWS = 300, 2_000
NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
TYPES = {"id": "string", "at": "timestamp", "x": "float", "count": "integer", "flag": "boolean"}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_rows, "PART_ROWS", PART)


def frame(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    times = pd.date_range("2026-01-01", periods=rows, freq="s", tz="UTC").astype("datetime64[us, UTC]")
    return pd.DataFrame(
        {
            "id": [f"é-{row}" for row in range(rows)],
            "at": times,
            "x": rng.normal(size=rows),
            "count": np.arange(rows),
            "flag": rng.random(rows) < 0.5,
            "level": np.array(["low", "high", None], dtype=object)[rng.integers(0, 3, rows)],
        }
    )


def landed(folder: Path, rows: pd.DataFrame, suffix: str) -> Path:
    path = folder / f"t{suffix}"
    if suffix == ".csv":
        rows.to_csv(path, index=False)
    else:
        # Groups of another size than the parts.
        rows.to_parquet(path, index=False, row_group_size=170)
    return path


def taken(store: FileBatchStore, file: Path, types: dict[str, str]) -> StoredRows:
    place = store.landing("m") / file.name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(file.read_bytes())
    return store.take("m", store.batch_id(place), file.name, types)


@pytest.mark.usefixtures("small_parts")
class TestReading:
    def alike(self, folder: Path, file: Path, types: dict[str, str] = TYPES) -> pd.DataFrame:
        """The raw batch that the file became in parts, the same as when it is read whole."""
        store, whole = FileBatchStore(folder / "home"), read_table(file, types)
        rows = taken(store, file, types)
        assert rows.path.parent.name == "raw"
        assert [path for path in rows.path.parent.iterdir() if path != rows.path] == [], "nothing is left behind"
        write_parquet(whole, folder / "whole.parquet")
        pd.testing.assert_frame_equal(rows.frame(), pd.read_parquet(folder / "whole.parquet"))
        expected = parquet.read_schema(folder / "whole.parquet")
        assert parquet.read_schema(rows.path).remove_metadata() == expected.remove_metadata()
        return rows.frame()

    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    @pytest.mark.parametrize("rows", [PART, PART + 1, 3 * PART, ROWS])
    def test_the_same_table(self, tmp_path: Path, suffix: str, rows: int) -> None:
        assert len(self.alike(tmp_path, landed(tmp_path, frame(rows), suffix))) == rows

    @pytest.mark.parametrize("place", [0, PART - 1, PART, PART + 1, 2 * PART, ROWS - 1])
    @pytest.mark.parametrize(
        ("column", "cell"),
        [("x", "1,5"), ("count", "many"), ("count", ""), ("count", "7.0"), ("flag", "perhaps"), ("at", "today")],
    )
    def test_one_cell_decides_for_the_whole_column(self, tmp_path: Path, place: int, column: str, cell: str) -> None:
        """Wherever it stands: at the border of a part as in its middle."""
        texts = frame().astype(str)
        texts.loc[place, column] = cell
        found = self.alike(tmp_path, landed(tmp_path, texts, ".csv"))
        assert str(found[column].iloc[place]) in (cell, "nan", "7", "7.0")
        assert (found[column].dtype == object) == (cell in ("1,5", "many", "perhaps", "today"))

    def test_columns_of_every_kind(self, tmp_path: Path) -> None:
        """Whole numbers, times and lists that are missing in one part only, and decimals of several widths."""
        count = ROWS
        last = [place >= count - 5 for place in range(count)]
        columns: dict[str, Any] = {
            "small": pa.array([None if gone else place % 100 for place, gone in enumerate(last)], pa.int8()),
            "large": pa.array([None if gone else 2**60 + place for place, gone in enumerate(last)], pa.int64()),
            "switch": pa.array([None if gone else True for gone in last]),
            "money": pa.array([Decimal(place) / 4 for place in range(count)], pa.decimal128(12, 2)),
            "day": pa.array([None if gone else dt.date(2026, 1, 1) for gone in last]),
            "list": pa.array([None if gone else [place] for place, gone in enumerate(last)]),
            "nothing": pa.nulls(count),
            "late": pa.array(["x" if gone else None for gone in last]),
            "code": pa.array(["a" if gone else "b" for gone in last]).dictionary_encode(),
            "a.b": pa.array(range(count)),
            "a": pa.array([{"b": place} for place in range(count)]),
        }
        parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
        self.alike(tmp_path, tmp_path / "t.parquet", {"late": "string"})

    @pytest.mark.parametrize("wrong", ["torn", "repeated", "year"])
    def test_what_is_no_table_is_refused_whole(self, tmp_path: Path, wrong: str) -> None:
        file = landed(tmp_path, frame(), ".parquet")
        if wrong == "torn":
            file = landed(tmp_path, frame(), ".csv")
            file.write_text(file.read_text(encoding="utf-8") + "one,cell,more,than,it,has,columns\n", encoding="utf-8")
        elif wrong == "repeated":
            table = pa.Table.from_pandas(frame()[["id", "level"]])
            parquet.write_table(table.rename_columns(["id", "id"]), file)
        else:
            far = pa.array([0] * (ROWS - 1) + [2**62], pa.timestamp("us"))
            parquet.write_table(pa.table({"at": far}), file)
        store = FileBatchStore(tmp_path / "home")
        with pytest.raises(UnreadableFileError, match="must be a readable"):
            read_table(file, TYPES)
        with pytest.raises(UnreadableFileError, match=f"must be a readable {file.suffix}; received '{file.name}'"):
            taken(store, file, TYPES)
        assert store.files("m", "raw") == []
        assert list((tmp_path / "home" / "batches" / "m" / "raw").iterdir()) == []
        (original,) = (tmp_path / "home" / "quarantine" / "m").glob("*/original/bytes.*")
        assert original.read_bytes() == file.read_bytes()

    def test_a_full_disk_says_nothing_of_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        file, store = landed(tmp_path, frame(), ".parquet"), FileBatchStore(tmp_path / "home")
        with monkeypatch.context() as patched:
            patched.setattr("pyarrow.parquet.ParquetWriter.write_table", full)
            with pytest.raises(OSError, match="No space left"):
                taken(store, file, TYPES)
        assert len(store.take("m", store.batch_id(file), file.name, TYPES)) == ROWS


def stored(folder: Path, rows: pd.DataFrame) -> StoredRows:
    rows.to_parquet(folder / "rows.parquet", index=False, row_group_size=170)
    return StoredRows(folder / "rows.parquet")


@pytest.mark.usefixtures("small_parts")
class TestRows:
    @pytest.mark.parametrize("kind", [stored, lambda _, rows: FrameRows(rows)], ids=["stored", "frame"])
    def test_by_parts_columns_and_places(self, tmp_path: Path, kind: Callable[[Path, pd.DataFrame], BatchRows]) -> None:
        whole = frame()
        rows = kind(tmp_path, whole)
        assert (rows.columns, len(rows)) == (list(whole), ROWS)
        parts = list(rows.parts(["x", "id"]))
        assert max(len(part) for part in parts) <= PART
        pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole[["x", "id"]])
        places = np.array([ROWS - 1, 3, PART, 3, 0])
        pd.testing.assert_frame_equal(rows.at(places), whole.iloc[places].reset_index(drop=True))
        assert rows.at(places[:0], ["id"]).empty
        chosen = rows.select(["at", "id"], ["label"])
        assert chosen.columns == list(chosen.frame()) == list(chosen.at(places)) == ["at", "id", "label"]
        assert [len(part.columns) for part in chosen.parts()] == [3] * len(parts)
        assert chosen.frame(["label"])["label"].isna().all()
        assert chosen.frame(["label"]).shape == (ROWS, 1)
        assert rows.frame(arrow_texts=True)["id"].tolist() == whole["id"].tolist()

    def test_parts_that_do_not_fit_together_are_refused(self, tmp_path: Path) -> None:
        def write() -> None:
            with from_parts(tmp_path / "x") as add:
                add(pd.DataFrame({"x": [[1]]}))
                add(pd.DataFrame({"x": ["a"]}))

        with pytest.raises(BatchError, match="must have the same columns and types"):
            write()
        assert list(tmp_path.iterdir()) == []

    def test_a_condition_sees_the_whole_batch(self, tmp_path: Path) -> None:
        sql = f"count > (select avg(count) from __batch) and id <> 'é-{ROWS - 1}'"
        expected = np.arange(ROWS) > (ROWS - 1) / 2
        expected[-1] = False
        assert (rows_where(stored(tmp_path, frame()), sql) == expected).all()


def context(reference: pd.DataFrame | None) -> CheckContext:
    def earlier(_: str, values: pd.Series) -> pd.Series:
        return values.isin(["é-5", f"é-{PART}"])

    return CheckContext(model="shop", batch_id="b", now=NOW, event_timestamp="at", reference=reference, earlier=earlier)


def broken() -> pd.DataFrame:
    """Something wrong on both sides of the borders of parts, and values that stand in several parts."""
    rows = frame()
    rows["origin"] = rows["id"].shift(7)
    rows.loc[[PART - 1, PART, 5 * PART], "id"] = ["é-0", "é-1", "é-0"]
    rows.loc[[0, PART, 2 * PART - 1], "x"] = [np.nan, np.inf, 99.0]
    rows.loc[[1, PART, ROWS - 1], "level"] = "odd"
    rows.loc[[2, PART + 1], "origin"] = ["nobody", "é-1999"]
    return rows


ROW, TABLE = Scope.ROW, Scope.TABLE
KINDS: list[tuple[str, Scope, str | None, dict[str, Any]]] = [
    ("not_null", ROW, "x", {}),
    ("not_null", ROW, "level", {}),
    ("unique", ROW, "id", {"across_batches": True}),
    ("unique", ROW, "count", {}),
    ("unique", ROW, "level", {}),
    ("accepted_values", ROW, "level", {"values": ["low", "high"]}),
    ("accepted_range", ROW, "x", {"min_value": -2, "max_value": 2}),
    ("finite", ROW, "x", {}),
    ("relationships", ROW, "origin", {"to": "ref('shop')", "field": "id"}),
    ("max_missing", TABLE, "level", {"share": 0.1}),
    ("mean_between", TABLE, "count", {"max_value": 10}),
    ("mean_between_reference", TABLE, "count", {"max_shift_sd": 0.1}),
    ("quantile_between_reference", TABLE, "count", {"quantile": 0.9, "max_shift_sd": 3.0}),
    ("row_count", TABLE, None, {"max_value": 100}),
    ("column_set", TABLE, None, {"columns": ("id", "at", "x")}),
    ("column_types", TABLE, None, {"types": {"x": "integer", "id": "string", "count": "float", "gone": "string"}}),
    ("freshness", TABLE, None, {"max_age_hours": 1}),
    ("singular", ROW, None, {"sql": "select id from shop where x > 50", "event_id": "id"}),
    ("singular", ROW, None, {"sql": "select count(*) n from shop having n > 5", "event_id": "id"}),
    ("not_null", ROW, "absent", {}),
]
CHECKS = [
    Check(name=f"{test}_{place}", test=test, scope=scope, column=column, arguments=arguments)
    for place, (test, scope, column, arguments) in enumerate(KINDS)
]
CHECKS += [
    replace(CHECKS[0], name="some_rows", where="level = 'low' and flag"),
    replace(CHECKS[2], name="unique_where", where="count % 2 = 0"),
    replace(CHECKS[11], name="mean_where", where="flag"),
    replace(CHECKS[6], name="no_condition", where="nope > 1"),
]


@pytest.mark.parametrize(
    ("rows", "reference"), [(broken(), frame(500)), (frame(), None)], ids=["broken", "sound-without-reference"]
)
def test_each_check_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: pd.DataFrame, reference: pd.DataFrame | None
) -> None:
    batch, adapter = stored(tmp_path, rows), GreatExpectationsChecks(None)

    def found() -> dict[str, CheckOutcome]:
        return {o.check.name: o for o in adapter.evaluate(batch, CHECKS, context(reference))}

    whole = found()
    monkeypatch.setattr(batch_rows, "PART_ROWS", PART)
    by_parts = found()
    assert list(by_parts) == list(whole) == [check.name for check in CHECKS]
    for name, outcome in whole.items():
        assert by_parts[name] == outcome, name
    assert {outcome.status for outcome in whole.values()} == set(CheckStatus)
    if "origin" in rows:
        assert by_parts["unique_2"].failing_rows == (0, 1, 5, PART - 1, PART, 5 * PART)
