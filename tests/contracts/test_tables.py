"""A typed table holds what the landed file held: CSV and Parquet of any writer, hostile ones too, through the port."""

import datetime as dt
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from selfheal_assets.adapters.batch_store import FileBatchStore
from selfheal_assets.core.errors import UnreadableFileError

UTC = dt.UTC


@pytest.fixture
def store(tmp_path: Path) -> FileBatchStore:
    return FileBatchStore(tmp_path / "home")


def csv_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def parquet_file(folder: Path, **columns: pa.Array) -> Path:
    path = folder / "t.parquet"
    parquet.write_table(pa.table(columns), path)
    return path


AT = dt.datetime(2026, 1, 2, 3, 4, 5, 678_901)


class TestReading:
    def read(self, store: FileBatchStore, path: Path, **types: str) -> pd.DataFrame:
        return store.read_file(path, types)

    def test_text_stays_text(self, store: FileBatchStore, tmp_path: Path) -> None:
        """Ids with leading zeros or too many digits, the country Namibia, and words that look like other types."""
        values = ["007", "12345678901234567890", "NA", "null", "nan", "true", "1e5", " x ", "2026-01-01"]
        path = csv_file(tmp_path, "id,undeclared\n" + "".join(f"{v},{v}\n" for v in values))
        frame = self.read(store, path, id="string")
        assert frame["id"].tolist() == frame["undeclared"].tolist() == values

    def test_an_empty_cell_is_missing(self, store: FileBatchStore, tmp_path: Path) -> None:
        frame = self.read(store, csv_file(tmp_path, 'a,b,c\n,"",1\n'), b="float", c="integer")
        assert frame.isna().to_numpy().tolist() == [[True, True, False]]

    def test_numbers_may_be_missing_by_the_usual_words(self, store: FileBatchStore, tmp_path: Path) -> None:
        cells = ["1.5", "NA", "NULL", "nan", "N/A", "NaN", "None", ""]
        path = csv_file(tmp_path, "k,x\n" + "".join(f"k,{cell}\n" for cell in cells))
        for kind, first in (("float", 1.5), ("string", "1.5")):
            assert self.read(store, path, x=kind)["x"].tolist()[0] == first
        assert self.read(store, path, x="float")["x"].isna().tolist() == [False] + [True] * 7
        assert self.read(store, path, x="string")["x"].isna().tolist() == [False] * 7 + [True]

    @pytest.mark.parametrize("kind", ["float", "integer", "boolean", "timestamp"])
    def test_one_bad_value_keeps_the_column_as_text(self, store: FileBatchStore, tmp_path: Path, kind: str) -> None:
        frame = self.read(store, csv_file(tmp_path, "x\n1\n0\nbad\n"), x=kind)
        assert frame["x"].tolist() == ["1", "0", "bad"]

    @pytest.mark.parametrize(
        ("kind", "cells", "values"),
        [
            ("float", ["0.1", "-1e300", "inf", "12"], [0.1, -1e300, float("inf"), 12.0]),
            ("integer", ["1", "-9007199254740993"], [1, -9007199254740993]),
            ("integer", ["1.5", "2"], ["1.5", "2"]),
            ("integer", ["99999999999999999999"], ["99999999999999999999"]),
            ("boolean", ["true", "0", "False"], [True, False, False]),
            ("float", ["1,5"], ["1,5"]),
        ],
    )
    def test_numbers_of_csv(
        self, store: FileBatchStore, tmp_path: Path, kind: str, cells: list[str], values: list[object]
    ) -> None:
        text = "x\n" + "".join(f'"{cell}"\n' for cell in cells)
        assert self.read(store, csv_file(tmp_path, text), x=kind)["x"].tolist() == values

    def test_large_ids_beside_a_missing_one_keep_every_digit(self, store: FileBatchStore, tmp_path: Path) -> None:
        """pandas would make the column floats, which have 53 bits."""
        big = 2**53 + 1
        from_csv = self.read(store, csv_file(tmp_path, f"x,y\n{big},1\n,2\n"), x="integer", y="integer")
        assert from_csv["x"].tolist() == [str(big), None]
        assert from_csv["y"].tolist() == [1, 2]
        columns = {"x": pa.array([big, None]), "y": pa.array([big, 1])}
        from_parquet = self.read(store, parquet_file(tmp_path, **columns), x="integer", y="integer")
        assert from_parquet["x"].tolist() == [str(big), None]
        assert from_parquet["y"].tolist() == [big, 1]
        small = self.read(store, parquet_file(tmp_path, x=pa.array([7, None])), x="integer")
        assert small["x"].tolist()[0] == 7

    @pytest.mark.parametrize(
        ("cells", "moments"),
        [
            (["2026-01-02T03:04:05.678901Z"], [AT]),
            (["2026-01-02 03:04:05.678901"], [AT]),
            (["2026-01-02T05:04:05.678901+02:00"], [AT]),
            (["2026-01-02 03:04:05.678901234"], [AT]),
            (["2026-01-02T03:04:05.678901234Z"], [AT]),
            (["2026-01-02"], [dt.datetime(2026, 1, 2)]),
            (["2026-01-02 03:04:05", ""], [dt.datetime(2026, 1, 2, 3, 4, 5), None]),
            (["1677-01-01", "2500-01-01"], [dt.datetime(1677, 1, 1), dt.datetime(2500, 1, 1)]),
        ],
    )
    def test_timestamps_of_csv(
        self, store: FileBatchStore, tmp_path: Path, cells: list[str], moments: list[dt.datetime | None]
    ) -> None:
        text = "k,at\n" + "".join(f"k,{cell}\n" for cell in cells)
        at = self.read(store, csv_file(tmp_path, text), at="timestamp")["at"]
        assert str(at.dtype) == "datetime64[us, UTC]"
        assert [None if pd.isna(v) else v.to_pydatetime() for v in at] == [m and m.replace(tzinfo=UTC) for m in moments]

    def test_zoned_and_naive_times_do_not_mix(self, store: FileBatchStore, tmp_path: Path) -> None:
        cells = ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05"]
        frame = self.read(store, csv_file(tmp_path, "at\n" + "\n".join(cells) + "\n"), at="timestamp")
        assert frame["at"].tolist() == cells

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    @pytest.mark.parametrize("zone", [None, "UTC", "Europe/Oslo"])
    def test_timestamps_of_parquet(self, store: FileBatchStore, tmp_path: Path, unit: str, zone: str | None) -> None:
        moment = AT.replace(microsecond=0, tzinfo=UTC if zone else None)
        column = pa.array([moment, None], pa.timestamp(unit, zone))
        for types in ({}, {"at": "timestamp"}):
            at = self.read(store, parquet_file(tmp_path, at=column), **types)["at"]
            assert str(at.dtype) == "datetime64[us, UTC]"
            assert at[0] == moment.replace(tzinfo=UTC)

    def test_dates_of_parquet_are_times_when_declared_so(self, store: FileBatchStore, tmp_path: Path) -> None:
        path = parquet_file(tmp_path, at=pa.array([dt.date(2026, 1, 2)]))
        assert self.read(store, path, at="timestamp")["at"][0] == pd.Timestamp("2026-01-02", tz="UTC")
        assert self.read(store, path)["at"][0] == dt.date(2026, 1, 2)

    @pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.string_view()])
    def test_text_columns_of_any_writer(self, store: FileBatchStore, tmp_path: Path, text: pa.DataType) -> None:
        columns = {
            "at": pa.array(["2026-01-02T03:04:05Z"], text),
            "x": pa.array(["1.5"], text),
            "n": pa.array(["7"], text),
            "id": pa.array(["007"], text),
        }
        types = {"at": "timestamp", "x": "float", "n": "integer", "id": "string"}
        frame = self.read(store, parquet_file(tmp_path, **columns), **types)
        assert frame["x"].tolist() == [1.5]
        assert frame["n"].tolist() == [7]
        assert frame["id"].tolist() == ["007"]
        assert str(frame["at"].dtype) == "datetime64[us, UTC]"

    def test_dictionaries_are_their_values(self, store: FileBatchStore, tmp_path: Path) -> None:
        columns = {
            "c": pa.array(["a", None, "a"]).dictionary_encode(),
            "x": pa.array(["1", "2", "2"]).dictionary_encode(),
        }
        frame = self.read(store, parquet_file(tmp_path, **columns), c="string", x="integer")
        assert frame["c"].tolist() == ["a", None, "a"]
        assert frame["x"].tolist() == [1, 2, 2]

    def test_other_columns_of_parquet_come_as_they_are(self, store: FileBatchStore, tmp_path: Path) -> None:
        columns = {
            "money": pa.array([Decimal("0.10")]),
            "pair": pa.array([{"a": 1}]),
            "ones": pa.array([1], pa.int8()),
            "void": pa.array([None], pa.null()),
        }
        frame = self.read(store, parquet_file(tmp_path, **columns), money="string", ones="integer", void="float")
        assert frame["money"].tolist() == [Decimal("0.10")]
        assert frame["pair"].tolist() == [{"a": 1}]
        assert frame["ones"].tolist() == [1]
        assert frame["void"].isna().all()

    def test_floats_for_integers_and_back_lose_nothing(self, store: FileBatchStore, tmp_path: Path) -> None:
        path = parquet_file(tmp_path, x=pa.array([2**53 + 1]), y=pa.array([1.5]), z=pa.array([3]))
        frame = self.read(store, path, x="float", y="integer", z="float")
        assert frame["x"].tolist() == [2**53 + 1], "no float holds it"
        assert frame["y"].tolist() == [1.5]
        assert str(frame["z"].dtype) == "float64"

    @pytest.mark.parametrize("write", ["csv", "parquet"])
    def test_repeated_column_names_are_refused(self, store: FileBatchStore, tmp_path: Path, write: str) -> None:
        path = tmp_path / f"t.{write}"
        if write == "csv":
            path.write_text("a,a\n1,2\n")
        else:
            parquet.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
        with pytest.raises(UnreadableFileError, match=r"received 't\.\w+': the column names \['a', 'a'\] repeat"):
            store.read_file(path, {})

    def test_header_only_is_a_table_without_rows(self, store: FileBatchStore, tmp_path: Path) -> None:
        frame = self.read(store, csv_file(tmp_path, "id,at,x\n"), id="string", at="timestamp", x="float")
        assert list(frame.columns) == ["id", "at", "x"]
        assert len(frame) == 0
        assert str(frame["at"].dtype) == "datetime64[us, UTC]"

    def test_the_wrong_delimiter_is_one_column(self, store: FileBatchStore, tmp_path: Path) -> None:
        """Not for the reader to judge: the checks refuse the batch, and its rows can be seen."""
        assert list(self.read(store, csv_file(tmp_path, "a;b\n1;2\n")).columns) == ["a;b"]

    @pytest.mark.parametrize("text", ["\ufeffid,x\n1,2\n", "id,x\r\n1,2\r\n", "id,x\n1,2", 'id,x\n"1","2"\n'])
    def test_csv_of_any_writer(self, store: FileBatchStore, tmp_path: Path, text: str) -> None:
        frame = self.read(store, csv_file(tmp_path, text), id="string", x="integer")
        assert frame.to_dict("list") == {"id": ["1"], "x": [2]}

    def test_lines_within_quotes_are_one_value(self, store: FileBatchStore, tmp_path: Path) -> None:
        """Also across the blocks of a megabyte in which a CSV is read."""
        value = "line\n" * 40 + 'and "quotes", commas'
        quoted = '"' + value.replace('"', '""') + '"'
        path = csv_file(tmp_path, "id,text\n" + "".join(f"{n},{quoted}\n" for n in range(12_000)))
        assert path.stat().st_size > 2 * (1 << 20)
        frame = self.read(store, path)
        assert len(frame) == 12_000
        assert set(frame["text"]) == {value}

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(
            st.tuples(
                st.text(st.characters(exclude_characters="\x00\r", exclude_categories=["Cs"]), min_size=1),
                st.floats(allow_nan=False),
                st.integers(-(2**63), 2**63 - 1),
                st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)),
            ),
            min_size=1,
            max_size=5,
        )
    )
    def test_what_is_written_as_csv_is_read_again(
        self, store: FileBatchStore, tmp_path: Path, rows: list[tuple[str, float, int, dt.datetime]]
    ) -> None:
        path = tmp_path / "t.csv"
        pd.DataFrame(rows, columns=["text", "number", "count", "at"], dtype=object).to_csv(path, index=False, quoting=1)
        types = {"text": "string", "number": "float", "count": "integer", "at": "timestamp"}
        frame = store.read_file(path, types)
        frame["at"] = frame["at"].dt.tz_localize(None)
        assert list(frame.itertuples(index=False, name=None)) == [
            (text, number, count, pd.Timestamp(at).as_unit("us")) for text, number, count, at in rows
        ]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.binary(max_size=300), st.sampled_from([".csv", ".parquet"]))
    def test_any_bytes_are_a_table_or_refused(
        self, store: FileBatchStore, tmp_path: Path, content: bytes, suffix: str
    ) -> None:
        path = tmp_path / f"t{suffix}"
        path.write_bytes(content)
        with suppress(UnreadableFileError):
            assert isinstance(store.read_file(path, {"a": "float"}), pd.DataFrame)
        store.first_event_time(path, "a")


EARLY = dt.datetime(2026, 1, 1, tzinfo=UTC)


class TestFirstEventTime:
    def first(self, store: FileBatchStore, path: Path) -> dt.datetime | None:
        return store.first_event_time(path, "at")

    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("at,x\n2026-01-01T00:00:00Z,1\n2025-01-01T00:00:00Z,1\n", EARLY),
            ("at,x\n2026-01-01 00:00:00,1\n", EARLY),
            ("at,x\n2026-01-01,1\n", EARLY),
            ("at,x\n2026-01-01T02:00:00+02:00,1\n", EARLY),
            ("x,at\n1,2026-01-01 00:00:00.000001\n", EARLY + dt.timedelta(microseconds=1)),
            ("at,x\n,1\n", None),
            ("at,x\nnot a time,1\n", None),
            ("at,x\n", None),
            ("other,x\n2026-01-01,1\n", None),
            ("", None),
            ("at,x\n0001-01-01T00:00:00+14:00,1\n", None),
            ("at,x\n99999-01-01T00:00:00,1\n", None),
            ("at,x\n1767225600,1\n", None),
            (b"\xff\xfe\x00", None),
        ],
    )
    def test_of_csv_the_first_row(
        self, store: FileBatchStore, tmp_path: Path, text: str | bytes, moment: dt.datetime | None
    ) -> None:
        found = self.first(store, csv_file(tmp_path, text))
        assert found == moment
        assert found is None or found.utcoffset() == dt.timedelta(0)

    @pytest.mark.parametrize(
        "column",
        [
            pa.array([EARLY + dt.timedelta(days=1), EARLY, None], pa.timestamp("us", "UTC")),
            pa.array([EARLY.replace(tzinfo=None)] * 3, pa.timestamp("ns")),
            pa.array([EARLY] * 3, pa.timestamp("ms", "Europe/Oslo")),
            pa.array([dt.date(2026, 1, 1), dt.date(2026, 2, 1), None]),
            pa.array(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", None]),
        ],
        ids=lambda column: str(column.type),
    )
    def test_of_parquet_the_earliest(self, store: FileBatchStore, tmp_path: Path, column: pa.Array) -> None:
        path = tmp_path / "t.parquet"
        nested = pa.array([{"a": 1, "b": 2}] * 3)
        parquet.write_table(pa.table({"nested": nested, "at": column}), path, row_group_size=1)
        found = self.first(store, path)
        assert found == EARLY
        assert found.utcoffset() == dt.timedelta(0)

    @pytest.mark.parametrize(
        "columns",
        [
            {"other": pa.array([EARLY], pa.timestamp("us", "UTC"))},
            {"at": pa.array([None], pa.timestamp("us", "UTC"))},
            {"at": pa.array([], pa.timestamp("us", "UTC"))},
            {"at": pa.array([1.5])},
            {"at": pa.array(["noon"])},
            {"at": pa.array([b"\xff"])},
            {"at": pa.array([2**62], pa.timestamp("us", "UTC"))},
            {"at": pa.array([{"x": EARLY}])},
        ],
        ids=lambda columns: ",".join(f"{name}:{column.type}" for name, column in columns.items()),
    )
    def test_of_parquet_without_an_answer(
        self, store: FileBatchStore, tmp_path: Path, columns: dict[str, pa.Array]
    ) -> None:
        assert self.first(store, parquet_file(tmp_path, **columns)) is None

    def test_of_a_parquet_without_statistics(self, store: FileBatchStore, tmp_path: Path) -> None:
        path = tmp_path / "t.parquet"
        parquet.write_table(pa.table({"at": pa.array([EARLY])}), path, write_statistics=False)
        assert self.first(store, path) is None

    def test_of_rubbish_and_of_nothing(self, store: FileBatchStore, tmp_path: Path) -> None:
        (tmp_path / "t.parquet").write_bytes(b"rubbish")
        assert self.first(store, tmp_path / "t.parquet") is None
        assert self.first(store, tmp_path / "absent.parquet") is None
        assert self.first(store, tmp_path / "absent.csv") is None
        assert self.first(store, tmp_path) is None
