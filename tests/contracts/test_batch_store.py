"""Files of batches: no landed byte is lost, no identity collides, and a typed table holds what the file held."""

import datetime as dt
import os
from pathlib import Path

import pandas as pd
import pytest

from selfheal_assets.adapters import batch_store, large_tables, stored_rows
from selfheal_assets.adapters.batch_store import FileBatchStore
from selfheal_assets.core.errors import BatchError, FileWithdrawnError, UnreadableFileError
from selfheal_assets.durable import move, replaced

UTC = dt.UTC
ROWS = b"id,amount\n1,0.5\n2,1.5\n"
OTHER = b"id,amount\n7,7.5\n"
TYPES = {"id": "string", "amount": "float"}


@pytest.fixture
def store(tmp_path: Path) -> FileBatchStore:
    return FileBatchStore(tmp_path / "home")


def land(store: FileBatchStore, name: str = "a.csv", content: bytes = ROWS) -> tuple[Path, str]:
    """The file in landing, and its batch id."""
    file = store.landing("m") / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file, store.batch_id(file)


def names(store: FileBatchStore) -> list[str]:
    return [file.path.name for file in store.landed("m")]


def hidden(folder: Path) -> list[str]:
    """Files that stand in the folder without being seen as landed."""
    shown = {path for path in folder.glob("*") if not path.name.startswith(".")}
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path not in shown)


class TestIdentity:
    @pytest.mark.parametrize(
        ("name", "begins"),
        [
            ("2026-01-01.csv", "2026-01-01-"),
            ("Betalingar på førstedag.csv", "betalingar-pa-frstedag-"),
            ("支付.parquet", "batch-"),
            ("-- _!?&%$;'.csv", "batch-"),
            ("a b  c.csv", "a-b-c-"),
            ("x" * 200 + ".csv", "x" * 48 + "-"),
            (".csv", "csv-"),
            ("a..b/../c.csv".replace("/", "\u2215"), "a-b-c-"),
            ("new\nline.csv", "new-line-"),
            ("ﬁle ①.csv", "file-1-"),
        ],
    )
    def test_an_id_is_safe_everywhere(self, store: FileBatchStore, name: str, begins: str) -> None:
        _, batch_id = land(store, name)
        assert batch_id.startswith(begins)
        assert set(batch_id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert len(batch_id) <= 59
        assert store.path("m", "raw", batch_id).parent == store.path("m", "raw", "x").parent

    def test_an_id_is_of_name_and_content(self, store: FileBatchStore) -> None:
        first = land(store, "a.csv")[1]
        assert land(store, "a.csv")[1] == first
        assert land(store, "b.csv")[1] != first, "same content, other name"
        assert land(store, "a.csv", OTHER)[1] != first, "same name, other content"
        assert land(store, "a.parquet")[1] != first, "the suffix is part of the name"
        assert land(store, "支付.csv")[1] != land(store, "支.csv")[1]

    def test_a_name_that_is_no_unicode_is_a_name_too(self, store: FileBatchStore) -> None:
        """On Linux a name is bytes, which no encoding needs to explain."""
        name = os.fsdecode(b"caf\xe9.csv")
        file, batch_id = land(store, name)
        assert batch_id.startswith("caf-")
        assert store.first_event_time(file, "at") is None
        assert len(store.take("m", batch_id, name, TYPES)) == 2


class TestLanding:
    def test_only_files_in_place_have_landed(self, store: FileBatchStore, tmp_path: Path) -> None:
        folder = store.landing("m")
        for name in ("b.csv", "a.csv", ".hidden.csv", "half.csv.tmp", "x.tmp"):
            land(store, name)
        (folder / "folder.csv").mkdir()
        (tmp_path / "outside.csv").write_bytes(ROWS)
        (folder / "link.csv").symlink_to(tmp_path / "outside.csv")
        (folder / "dangling.csv").symlink_to(tmp_path / "absent.csv")
        os.mkfifo(folder / "pipe.csv")
        assert names(store) == ["a.csv", "b.csv"]
        assert (tmp_path / "outside.csv").exists()

    def test_a_landed_file_tells_its_size_and_when(self, store: FileBatchStore) -> None:
        file, _ = land(store)
        os.utime(file, (1_000_000_000, 1_000_000_000))
        (landed,) = store.landed("m")
        assert landed.size_bytes == len(ROWS)
        assert landed.landed_at == dt.datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)

    def test_no_folder_is_no_file(self, store: FileBatchStore) -> None:
        assert store.landed("absent") == []


class TestTake:
    def test_a_file_becomes_the_raw_batch_and_leaves(self, store: FileBatchStore) -> None:
        file, batch_id = land(store)
        frame = store.take("m", batch_id, "a.csv", TYPES).frame()
        assert frame.to_dict("list") == {"id": ["1", "2"], "amount": [0.5, 1.5]}
        assert not file.exists()
        assert hidden(file.parent) == []
        pd.testing.assert_frame_equal(store.read("m", "raw", batch_id), frame)

    def test_taking_twice_changes_nothing(self, store: FileBatchStore) -> None:
        _, batch_id = land(store)
        first = store.take("m", batch_id, "a.csv", TYPES).frame()
        pd.testing.assert_frame_equal(store.take("m", batch_id, "a.csv", {}).frame(), first)
        land(store)
        pd.testing.assert_frame_equal(store.take("m", batch_id, "a.csv", TYPES).frame(), first)
        assert store.drop_duplicate("m", "a.csv", batch_id), "the same file again"
        assert names(store) == hidden(store.landing("m")) == []

    @pytest.mark.parametrize("moment", ["written", "read"])
    def test_a_file_that_replaces_a_taken_one_stays(
        self, store: FileBatchStore, monkeypatch: pytest.MonkeyPatch, moment: str
    ) -> None:
        """The sender puts another file under the same name while the first one is being turned into the raw batch."""
        file, batch_id = land(store)
        module, name = (large_tables, "read_table") if moment == "read" else (stored_rows, "write_parquet")
        original = getattr(module, name)

        def interrupted(*arguments):
            result = original(*arguments)
            file.write_bytes(OTHER)
            return result

        monkeypatch.setattr(module, name, interrupted)
        assert len(store.take("m", batch_id, "a.csv", TYPES)) == 2
        assert names(store) == ["a.csv"]
        assert file.read_bytes() == OTHER

    def test_a_file_that_replaces_one_taken_before_a_crash_stays(self, store: FileBatchStore) -> None:
        """Killed after the raw batch was written: the next try must not take the sender's next file for the same."""
        file, batch_id = land(store)
        store.take("m", batch_id, "a.csv", TYPES)
        file.write_bytes(OTHER)
        assert len(store.take("m", batch_id, "a.csv", TYPES)) == 2
        assert file.read_bytes() == OTHER
        assert hidden(file.parent) == []

    @pytest.mark.parametrize("step", ["read_parts", "from_parts"])
    def test_a_crash_in_the_middle_loses_nothing(
        self, store: FileBatchStore, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        class Killed(BaseException):
            pass

        def killed(*_):
            raise Killed

        file, batch_id = land(store)
        with monkeypatch.context() as patched:
            patched.setattr(batch_store, step, killed)
            with pytest.raises(Killed):
                store.take("m", batch_id, "a.csv", TYPES)
        assert not store.has("m", "raw", batch_id)
        assert len(store.take("m", batch_id, "a.csv", TYPES)) == 2
        assert names(store) == hidden(file.parent) == []

    @pytest.mark.parametrize("now_there", [None, OTHER])
    def test_a_withdrawn_file_is_refused_and_nothing_is_touched(
        self, store: FileBatchStore, now_there: bytes | None
    ) -> None:
        file, batch_id = land(store)
        file.unlink()
        if now_there:
            file.write_bytes(now_there)
        with pytest.raises(FileWithdrawnError, match=r"received 'a.csv', which was removed or replaced.*Nothing to do"):
            store.take("m", batch_id, "a.csv", TYPES)
        assert (file.read_bytes() if now_there else None) == now_there
        assert hidden(file.parent) == []
        assert not store.has("m", "raw", batch_id)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("empty.csv", b""),
            ("noise.csv", bytes(range(256)) * 9),
            ("latin.csv", "id,amount\nblåbær,1\n".encode("latin-1")),
            ("ragged.csv", b"id,amount\n1,2,3\n"),
            ("cut.parquet", b"PAR1 and no more"),
            ("empty.parquet", b""),
            ("table.xlsx", ROWS),
            ("no_suffix", ROWS),
            ("NOISE.CSV", b"\x00\xff\xfe"),
            ("repeated.csv", b"id,id\n1,2\n"),
        ],
    )
    def test_an_unreadable_file_keeps_its_bytes(self, store: FileBatchStore, name: str, content: bytes) -> None:
        file, batch_id = land(store, name, content)
        for _ in range(2):
            with pytest.raises(UnreadableFileError, match=r"must|received"):
                store.take("m", batch_id, name, TYPES)
            (kept,) = (store.quarantine("m", batch_id) / "original").iterdir()
            assert kept.read_bytes() == content
            assert kept.suffix == Path(name).suffix.lower()
        assert not file.exists()
        assert hidden(file.parent) == []
        assert not store.has("m", "raw", batch_id)

    def test_an_unreadable_file_can_land_again_without_harm(self, store: FileBatchStore) -> None:
        file, batch_id = land(store, "noise.csv", b"\xff")
        for _ in range(2):
            with pytest.raises(UnreadableFileError):
                store.take("m", batch_id, "noise.csv", TYPES)
            file.write_bytes(OTHER)
        assert file.read_bytes() == OTHER

    def test_a_name_may_be_as_long_as_the_file_system_takes(self, store: FileBatchStore) -> None:
        name = "å" * 125 + ".csv"
        _, batch_id = land(store, name)
        assert len(store.take("m", batch_id, name, TYPES)) == 2


class TestDropDuplicate:
    def test_a_copy_is_removed(self, store: FileBatchStore) -> None:
        file, batch_id = land(store)
        assert store.drop_duplicate("m", "a.csv", batch_id) is True
        assert not file.exists()
        assert hidden(file.parent) == []

    def test_a_file_that_was_replaced_since_is_kept(self, store: FileBatchStore) -> None:
        file, batch_id = land(store)
        file.write_bytes(OTHER)
        assert store.drop_duplicate("m", "a.csv", batch_id) is False
        assert file.read_bytes() == OTHER
        assert hidden(file.parent) == []

    def test_a_file_that_is_gone_is_no_duplicate(self, store: FileBatchStore) -> None:
        file, batch_id = land(store)
        file.unlink()
        assert store.drop_duplicate("m", "a.csv", batch_id) is False

    def test_a_third_file_that_comes_meanwhile_is_not_overwritten(
        self, store: FileBatchStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The replaced file goes back, unless its sender has replaced it once more: then both are kept."""
        file, batch_id = land(store)
        file.write_bytes(OTHER)
        digest = batch_store.hashlib.file_digest

        def slow(*arguments):
            file.write_bytes(b"id,amount\n9,9\n")
            return digest(*arguments)

        monkeypatch.setattr(batch_store.hashlib, "file_digest", slow)
        assert store.drop_duplicate("m", "a.csv", batch_id) is False
        monkeypatch.undo()
        assert {landed.path.read_bytes() for landed in store.landed("m")} == {OTHER, b"id,amount\n9,9\n"}


class TestQuarantine:
    ROWS = pd.DataFrame({"id": ["1"], "amount": [2.0]})

    def test_rows_and_reason_come_back(self, store: FileBatchStore) -> None:
        store.write_quarantine("m", "b", self.ROWS, {"reasons": ["bad"], "at": dt.datetime(2026, 1, 1, tzinfo=UTC)})
        rows, reason = store.read_quarantine("m", "b")
        pd.testing.assert_frame_equal(rows, self.ROWS)
        assert reason == {"reasons": ["bad"], "at": "2026-01-01 00:00:00+00:00"}

    def test_a_batch_that_is_not_there_is_told(self, store: FileBatchStore) -> None:
        with pytest.raises(BatchError, match=r"must be in quarantine; received 'b'.*selfheal quarantine list"):
            store.read_quarantine("m", "b")
        store.retire_quarantine("m", "b")

    def test_retiring_never_deletes(self, store: FileBatchStore) -> None:
        """Quarantined, released, quarantined again, discarded: every version is still on the disk."""
        for number in range(12):
            store.write_quarantine("m", "b", self.ROWS.assign(amount=float(number)), {"reasons": [str(number)]})
            store.retire_quarantine("m", "b")
            assert not store.quarantine("m", "b").exists()
        aside = store.quarantine("m", "b").parent / ".retired"
        kept = {pd.read_parquet(folder / "rows.parquet")["amount"].iloc[0] for folder in aside.iterdir()}
        assert kept == set(map(float, range(12)))

    def test_retiring_keeps_batches_apart_whose_names_begin_alike(self, store: FileBatchStore) -> None:
        for batch_id in ("b", "b-2", "b"):
            store.write_quarantine("m", batch_id, self.ROWS, {"reasons": []})
            store.retire_quarantine("m", batch_id)
        aside = store.quarantine("m", "b").parent / ".retired"
        assert sorted(folder.name for folder in aside.iterdir()) == ["b-2.1", "b.1", "b.2"]

    def test_the_original_bytes_are_retired_with_it(self, store: FileBatchStore) -> None:
        _, batch_id = land(store, "noise.csv", b"\xff\xfe")
        with pytest.raises(UnreadableFileError):
            store.take("m", batch_id, "noise.csv", TYPES)
        store.write_quarantine("m", batch_id, None, {"reasons": []})
        assert store.read_quarantine("m", batch_id)[0] is None
        store.retire_quarantine("m", batch_id)
        (kept,) = (store.quarantine("m", batch_id).parent / ".retired").rglob("bytes.csv")
        assert kept.read_bytes() == b"\xff\xfe"

    def test_a_whole_batch_goes_as_raw_when_there_is_a_raw(self, store: FileBatchStore) -> None:
        _, batch_id = land(store)
        frame = store.take("m", batch_id, "a.csv", TYPES).frame()
        store.write("m", "clean", batch_id, frame)
        assert store.quarantine_whole("m", batch_id, "a.csv", "crashed") == 2
        rows, reason = store.read_quarantine("m", batch_id)
        pd.testing.assert_frame_equal(rows, frame)
        assert reason == {"file_name": "a.csv", "reasons": ["crashed"]}
        assert not store.has("m", "clean", batch_id), "what is in quarantine is not learned from"

    def test_a_whole_batch_goes_as_landed_when_there_is_no_raw(self, store: FileBatchStore) -> None:
        file, batch_id = land(store)
        assert store.quarantine_whole("m", batch_id, "a.csv", "crashed") == 0
        assert not file.exists()
        (kept,) = (store.quarantine("m", batch_id) / "original").iterdir()
        assert kept.read_bytes() == ROWS

    def test_a_file_that_was_replaced_is_not_quarantined_for_it(self, store: FileBatchStore) -> None:
        file, batch_id = land(store)
        file.write_bytes(OTHER)
        assert store.quarantine_whole("m", batch_id, "a.csv", "crashed") == 0
        assert file.read_bytes() == OTHER

    def test_a_file_that_a_killed_run_had_taken_is_quarantined(
        self, store: FileBatchStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, batch_id = land(store)

        def crash(*_):
            raise MemoryError

        monkeypatch.setattr(batch_store, "read_parts", crash)
        with pytest.raises(MemoryError):
            store.take("m", batch_id, "a.csv", TYPES)
        store.quarantine_whole("m", batch_id, "a.csv", "crashed")
        (kept,) = (store.quarantine("m", batch_id) / "original").iterdir()
        assert kept.read_bytes() == ROWS
        assert names(store) == hidden(store.landing("m")) == []


class TestTables:
    """The tables of a batch, and the documents of a model."""

    def test_a_table_can_be_written_again_and_removed(self, store: FileBatchStore) -> None:
        for amount in (1.0, 2.0):
            store.write("m", "clean", "b", pd.DataFrame({"amount": [amount]}))
        assert store.read("m", "clean", "b")["amount"].tolist() == [2.0]
        assert [path.name for path in store.files("m", "clean")] == ["b.parquet"]
        store.remove("m", "clean", "b")
        store.remove("m", "clean", "b")
        assert not store.has("m", "clean", "b")
        assert store.files("m", "clean") == []

    def test_what_is_not_there_is_told(self, store: FileBatchStore) -> None:
        with pytest.raises(BatchError, match=r"received 'b', which has none. Materialize m/clean_batch"):
            store.read("m", "clean", "b")
        with pytest.raises(BatchError, match=r"received 'elsewhere'. Correct the caller"):
            store.path("m", "elsewhere", "b")

    def test_timestamps_are_stored_in_microseconds(self, store: FileBatchStore) -> None:
        at = pd.Series(pd.to_datetime(["2026-01-01T00:00:00.123456789Z"], utc=True))
        assert str(at.dtype) == "datetime64[ns, UTC]"
        store.write("m", "clean", "b", pd.DataFrame({"at": at}))
        assert str(store.read("m", "clean", "b")["at"].dtype) == "datetime64[us, UTC]"

    def test_documents(self, store: FileBatchStore) -> None:
        assert store.read_document("m", "reference-1") is None
        store.write_document("m", "reference-1", {"metric": 0.9, "at": dt.date(2026, 1, 1)})
        assert store.read_document("m", "reference-1") == {"metric": 0.9, "at": "2026-01-01"}


class TestEarlier:
    def write(self, store: FileBatchStore, batch_id: str, **columns: object) -> None:
        store.write("m", "clean", batch_id, pd.DataFrame(columns))

    def test_no_other_batch_knows_nothing(self, store: FileBatchStore) -> None:
        self.write(store, "b1", id=["1"])
        assert store.earlier("m", "b1")("id", pd.Series(["1"])).tolist() == [False]

    def test_all_other_clean_batches_are_looked_at(self, store: FileBatchStore) -> None:
        self.write(store, "b1", id=["1", "2"])
        self.write(store, "b2", id=["3"])
        self.write(store, "b3", id=["4"])
        store.write("m", "raw", "b4", pd.DataFrame({"id": ["5"]}))
        values = pd.Series(["5", "4", None, "3", "1", "9", "1"], index=[7, 6, 5, 4, 3, 2, 2])
        found = store.earlier("m", "b3")("id", values)
        assert found.tolist() == [False, False, False, True, True, False, True]
        assert found.index.tolist() == values.index.tolist()

    def test_no_value_is_no_look_up(self, store: FileBatchStore) -> None:
        self.write(store, "b1", id=["1"])
        assert store.earlier("m", "b2")("id", pd.Series([], dtype=object)).tolist() == []
        assert store.earlier("m", "b2")("id", pd.Series([None, None])).tolist() == [False, False]

    def test_a_column_that_no_other_batch_has(self, store: FileBatchStore) -> None:
        self.write(store, "b1", other=["1"])
        assert store.earlier("m", "b2")("id", pd.Series(["1"])).tolist() == [False]
        self.write(store, "b0", id=["1"])
        assert store.earlier("m", "b2")("id", pd.Series(["1"])).tolist() == [True]

    @pytest.mark.parametrize("column", ['in "quotes"', "select", "a b", "å"])
    def test_a_column_s_name_is_no_sql(self, store: FileBatchStore, column: str) -> None:
        self.write(store, "b1", **{column: ["1"]})
        assert store.earlier("m", "b2")(column, pd.Series(["1", "2"])).tolist() == [True, False]

    @pytest.mark.parametrize(
        ("stored", "asked", "found"),
        [
            ([1, 2], [2, 3], [True, False]),
            # A missing id makes a whole column of numbers floats, there or here.
            ([1.0, None, 2.0], [2, 3], [True, False]),
            ([1, 2], [2.0, None], [True, False]),
            ([2**53 + 1, 5], [2**53 + 1, 2**53], [True, False]),
            (["1", "2"], [2, 3], [True, False]),
            ([0.25], [0.25, 0.5], [True, False]),
            (["01"], ["1", "01"], [False, True]),
            ([True], [True, False], [True, False]),
        ],
    )
    def test_a_value_is_the_same_whatever_holds_it(
        self, store: FileBatchStore, stored: list[object], asked: list[object], found: list[bool]
    ) -> None:
        self.write(store, "b1", id=stored)
        self.write(store, "b0", id=stored[:1])
        assert store.earlier("m", "b2")("id", pd.Series(asked)).tolist() == found


class TestDurable:
    def test_an_error_leaves_what_was_there(self, tmp_path: Path) -> None:
        target = tmp_path / "deep" / "file"
        with replaced(target) as draft:
            draft.write_text("first")

        def fail() -> None:
            with replaced(target) as draft:
                draft.write_text("second")
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert target.read_text() == "first"
        assert [path.name for path in target.parent.iterdir()] == ["file"]

    def test_a_draft_is_not_seen_as_landed(self, store: FileBatchStore) -> None:
        with replaced(store.landing("m") / "a.csv") as draft:
            draft.write_bytes(ROWS)
            assert names(store) == []
        assert names(store) == ["a.csv"]

    def test_long_names_have_a_draft(self, tmp_path: Path) -> None:
        with replaced(tmp_path / ("å" * 120)) as draft:
            draft.write_text("x")

    def test_moving_makes_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("x")
        move(tmp_path / "a", tmp_path / "deep" / "b")
        assert (tmp_path / "deep" / "b").read_text() == "x"
