"""Label files on disk: read or refused with the reason, kept for ever, waiting, and laid over a batch in any order."""

import itertools
import json
import os
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from selfheal_assets.adapters import label_store
from selfheal_assets.adapters.label_store import FileLabelStore
from selfheal_assets.core.errors import BatchError, UnreadableFileError, UnusableLabelsError
from selfheal_assets.core.model_spec import DataSpec

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DATA = DataSpec(event_id="id", event_timestamp="at", label="y", entities=("a",))
NO_LABELS = pd.Series(dtype="float64")


@pytest.fixture
def store(tmp_path: Path) -> FileLabelStore:
    return FileLabelStore(tmp_path)


def land(store: FileLabelStore, name: str, content: str | bytes | pd.DataFrame, order: int = 0) -> Path:
    folder = store.landing("m")
    folder.mkdir(parents=True, exist_ok=True)
    waiting = folder / ".incoming"
    if isinstance(content, pd.DataFrame):
        content.to_parquet(waiting, index=False)
    else:
        waiting.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(waiting, (1_000_000 + order, 1_000_000 + order))
    waiting.rename(folder / name)
    return folder / name


def take(store: FileLabelStore, path: Path, types: dict[str, str] | None = None, now: datetime = NOW) -> str:
    file_id = store.claim("m", path)
    assert file_id is not None
    store.take("m", file_id, DATA, types or {}, now)
    return file_id


def waiting(store: FileLabelStore) -> pd.DataFrame:
    return store.waiting("m", store.pending("m"))


def labels(store: FileLabelStore) -> dict[str, float]:
    return dict(zip(*waiting(store)[["event_id", "label"]].to_numpy().T, strict=True))


class TestLanding:
    def test_only_files_in_place_are_seen_in_the_order_in_which_they_came(self, store: FileLabelStore) -> None:
        for order, name in enumerate(["z.csv", "a.csv", "m.parquet"]):
            land(store, name, "id,y\n", order)
        for name in (".b.csv", "b.csv.tmp"):
            (store.landing("m") / name).write_text("id,y\n")
        (store.landing("m") / "folder").mkdir()
        (store.landing("m") / "link.csv").symlink_to(store.landing("m") / "a.csv")
        assert [file.path.name for file in store.landed("m")] == ["z.csv", "a.csv", "m.parquet"]

    def test_nothing_has_landed(self, store: FileLabelStore) -> None:
        assert store.landed("m") == []
        assert store.pending("m") == []
        assert store.waiting_rows("m") == 0
        assert waiting(store).empty
        assert store.current("m", "b", pd.Series(["1"])) is None

    def test_a_claimed_file_is_still_landed_and_its_sender_may_use_the_name_again(self, store: FileLabelStore) -> None:
        first = store.claim("m", land(store, "a.csv", "id,y\n1,0\n"))
        second = land(store, "a.csv", "id,y\n1,1\n", 1)
        assert len(store.landed("m")) == 2
        claimed = store.landed("m")[0].path
        assert store.claim("m", claimed) == first
        assert store.claim("m", second) not in (None, first)
        assert [path.read_text() for path in (file.path for file in store.landed("m"))] == [
            "id,y\n1,0\n",
            "id,y\n1,1\n",
        ]

    def test_a_file_that_its_sender_took_back_is_gone(self, store: FileLabelStore) -> None:
        path = land(store, "a.csv", "id,y\n1,0\n")
        path.unlink()
        assert store.claim("m", path) is None

    def test_a_copy_of_a_file_that_was_taken_is_removed_and_no_other(self, store: FileLabelStore) -> None:
        take(store, land(store, "a.csv", "id,y\n1,0\n"))
        assert store.drop_duplicate("m", land(store, "a.csv", "id,y\n1,0\n"))
        assert store.landed("m") == []
        assert not store.drop_duplicate("m", land(store, "a.csv", "id,y\n1,1\n"))
        assert len(store.landed("m")) == 1
        assert len(store.pending("m")) == 1


FILES: dict[str, tuple[str, str | pd.DataFrame]] = {
    "csv": ("a.csv", "id,y\n7,1\n8,0\n9,\n"),
    "floats": ("a.csv", "id,y\n7,1.0\n8,0.0\n9,nan\n"),
    "quoted, with a column more": ("a.csv", 'id,y,who\n"7","1",x\n"8","0",y\n'),
    "parquet of numbers": ("a.parquet", pd.DataFrame({"id": [7, 8], "y": [1, 0]})),
    "ids beside a missing one were floats": ("a.parquet", pd.DataFrame({"id": [7.0, 8.0], "y": [1.0, 0.0]})),
    "parquet of booleans": ("a.parquet", pd.DataFrame({"id": ["7", "8"], "y": [True, False]})),
    "the same row twice": ("a.csv", "id,y\n7,1\n8,0\n7,1\n"),
}
NOT_A_TABLE = {
    "empty": ("a.csv", b""),
    "noise": ("a.parquet", np.random.default_rng(1).bytes(900)),
    "no suffix that is known": ("a.json", b"[]"),
}
UNUSABLE: dict[str, tuple[str, str]] = {
    "no label column": ("id,label\n7,1\n", r"the columns 'id' and 'y'; received none called \['y'\]"),
    "no event id": ("x,y\n7,1\n", r"none called \['id'\]"),
    "another label": ("id,y\n7,2\n8,0\n", "labels of 0, 1 or nothing; received 2.0"),
    "words": ("id,y\n7,fraud\n8,ok\n", "labels of 0, 1 or nothing; received 'fraud', 'ok'"),
    "an id is missing": ("id,y\n7,1\n,0\n", "an? id in every row; received 1 rows without one"),
    "it contradicts itself": ("id,y\n7,1\n8,0\n7,0\n", "must not contradict itself; received both labels for '7'"),
    "at one time": (
        "id,y,label_timestamp\n7,1,2026-01-02\n7,0,2026-01-02\n",
        "must not contradict itself; received both labels for '7'",
    ),
    "no times": ("id,y,label_timestamp\n7,1,yesterday\n", "times in label_timestamp.*received 'yesterday'"),
}


class TestTake:
    @pytest.mark.parametrize(("name", "content"), FILES.values(), ids=FILES)
    def test_what_is_a_label_file(self, store: FileLabelStore, name: str, content: str | pd.DataFrame) -> None:
        file_id = take(store, land(store, name, content))
        assert labels(store) == {"7": 1.0, "8": 0.0}
        assert store.known("m", file_id)
        assert store.landed("m") == []
        assert not (store.landing("m") / ".taken" / file_id).exists()

    def test_every_column_of_the_file_is_kept(self, store: FileLabelStore) -> None:
        file_id = take(store, land(store, "a.csv", "id,y,who\n7,1,x\n8,,y\n"))
        kept = pd.read_parquet(store._taken("m", file_id))
        assert kept["who"].tolist() == ["x", "y"]
        assert kept["y"].isna().tolist() == [False, True]

    @pytest.mark.parametrize(("name", "content"), NOT_A_TABLE.values(), ids=NOT_A_TABLE)
    def test_what_is_no_table_stays_where_it_was(self, store: FileLabelStore, name: str, content: bytes) -> None:
        with pytest.raises(UnreadableFileError):
            take(store, land(store, name, content))
        assert [file.path.read_bytes() for file in store.landed("m")] == [content]
        assert store.pending("m") == []

    @pytest.mark.parametrize(("content", "said"), UNUSABLE.values(), ids=UNUSABLE)
    def test_what_would_have_to_be_guessed_is_refused_whole(
        self, store: FileLabelStore, content: str, said: str
    ) -> None:
        with pytest.raises(UnusableLabelsError, match=said):
            take(store, land(store, "a.csv", content))
        assert [file.path.read_text() for file in store.landed("m")] == [content]
        assert (store.pending("m"), store.waiting_rows("m")) == ([], 0)

    def test_a_correction_in_one_file_is_told_by_its_time(self, store: FileLabelStore) -> None:
        take(store, land(store, "a.csv", "id,y,label_timestamp\n7,0,2026-01-03\n7,1,2026-01-02\n"))
        store.merge("m", "b", waiting(store), NO_LABELS)
        assert store.current("m", "b", pd.Series(["7"])).tolist() == [0.0]

    @pytest.mark.parametrize("killed_at", ["waiting", "files", "removal"])
    def test_taken_again_after_a_kill(
        self, store: FileLabelStore, monkeypatch: pytest.MonkeyPatch, killed_at: str
    ) -> None:
        write, let_go = label_store._write, FileLabelStore._let_go

        def killing_write(frame: pd.DataFrame, target: Path) -> None:
            if target.parent.name == killed_at:
                raise KeyboardInterrupt
            write(frame, target)

        def killing_removal(self: FileLabelStore, model: str, file_id: str) -> None:
            if killed_at == "removal":
                raise KeyboardInterrupt
            let_go(self, model, file_id)

        path = land(store, "a.csv", "id,y\n7,1\n")
        with monkeypatch.context() as patch:
            patch.setattr(label_store, "_write", killing_write)
            patch.setattr(FileLabelStore, "_let_go", killing_removal)
            with pytest.raises(KeyboardInterrupt):
                take(store, path)
        (still,) = store.landed("m")
        file_id = take(store, still.path)
        assert labels(store) == {"7": 1.0}
        assert store.pending("m") == [file_id]
        assert store.landed("m") == []


class TestQuarantine:
    def test_bytes_and_reason_are_kept(self, store: FileLabelStore) -> None:
        file_id = store.claim("m", land(store, "a.csv", "not,labels\n"))
        assert file_id is not None
        folder = store.quarantine("m", file_id, "because")
        assert (folder / "bytes.csv").read_text() == "not,labels\n"
        assert json.loads((folder / "reason.json").read_text()) == {"file_name": "a.csv", "reasons": ["because"]}
        assert store.landed("m") == []
        assert folder.parts[-3:] == ("labels_quarantine", "m", file_id)

    def test_a_taken_file_leaves_the_waiting_and_may_come_again(self, store: FileLabelStore) -> None:
        file_id = take(store, land(store, "a.csv", "id,y\n7,1\n"))
        folder = store.quarantine("m", file_id, "its join crashed")
        assert len(pd.read_parquet(folder / "rows.parquet")) == 1
        assert (store.pending("m"), store.known("m", file_id)) == ([], False)
        assert take(store, land(store, "a.csv", "id,y\n7,1\n")) == file_id
        assert labels(store) == {"7": 1.0}


class TestWaiting:
    def test_what_was_not_found_goes_on_waiting_and_is_done_later(self, store: FileLabelStore) -> None:
        first = take(store, land(store, "a.csv", "id,y\n1,0\n2,1\n"))
        second = take(store, land(store, "b.csv", "id,y\n3,1\n"))
        assert store.pending("m") == [first, second]
        rows = waiting(store)
        store.keep_waiting("m", rows[rows["event_id"] == "2"], [first, second], 17)
        assert (labels(store), store.pending("m"), store.waiting_rows("m")) == ({"2": 1.0}, [], 1)
        assert (store.looked_at("m").joins, store.looked_at("m").sequence) == (1, 17)
        store.keep_waiting("m", rows[:0], [], 18)
        assert (labels(store), store.waiting_rows("m")) == ({}, 0)

    def test_a_join_that_was_killed_at_its_end_waits_once(self, store: FileLabelStore) -> None:
        take(store, land(store, "a.csv", "id,y\n1,0\n2,1\n"))
        store.keep_waiting("m", waiting(store), [], 17)
        assert len(waiting(store)) == 2

    def test_what_waited_too_long_is_kept_and_looked_for_no_longer(self, store: FileLabelStore) -> None:
        """By when its file was taken, whatever times its labels state."""
        old = take(store, land(store, "a.csv", "id,y,label_timestamp\n1,0,2020-01-01\n2,1,2020-01-01\n"))
        new = take(store, land(store, "b.csv", "id,y,label_timestamp\n3,1,2019-01-01\n"), now=NOW + timedelta(days=80))
        assert store.set_aside("m", NOW + timedelta(days=999)) == 0, "their join has not ended"
        store.keep_waiting("m", waiting(store), [old, new], 17)
        assert store.set_aside("m", NOW) == 0
        assert store.set_aside("m", NOW + timedelta(days=1)) == 2
        assert (labels(store), store.waiting_rows("m"), store.unmatched_rows("m")) == ({"3": 1.0}, 1, 2)
        kept = pd.read_parquet(next((store._folder("m") / "unmatched").glob("*.parquet")))
        assert list(kept["event_id"]) == ["1", "2"]
        assert store.set_aside("m", NOW + timedelta(days=1)) == 0
        assert store.known("m", old), "the file itself is kept, too"
        assert take(store, land(store, "again.csv", "id,y\n1,0\n"))
        assert labels(store) == {"3": 1.0, "1": 0.0}, "the way back"

    def test_labels_set_aside_by_a_killed_join_are_counted_once(
        self, store: FileLabelStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file_id = take(store, land(store, "a.csv", "id,y\n1,0\n2,1\n"))
        store.keep_waiting("m", waiting(store), [file_id], 17)
        written = label_store._write

        def killed_at_the_rest(frame: pd.DataFrame, target: Path) -> None:
            if target.stem == label_store.REST:
                raise KeyboardInterrupt
            written(frame, target)

        monkeypatch.setattr(label_store, "_write", killed_at_the_rest)
        with pytest.raises(KeyboardInterrupt):
            store.set_aside("m", NOW + timedelta(days=1))
        monkeypatch.undo()
        assert labels(store) == {"1": 0.0, "2": 1.0}
        assert store.set_aside("m", NOW + timedelta(days=1)) == 2
        assert (store.waiting_rows("m"), store.unmatched_rows("m")) == (0, 2)

    def test_one_at_a_time(self, store: FileLabelStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(label_store, "LOCK_SECONDS", 0.05)
        with ExitStack() as held:
            for model in ("m", "other"):
                held.enter_context(store.joining(model))
            with pytest.raises(BatchError, match="one process at a time"):
                held.enter_context(store.joining("m"))
        with store.joining("m"):
            assert store.pending("m") == []


class TestHolders:
    def files(self, tmp_path: Path, **frames: pd.DataFrame) -> dict[str, Path]:
        paths = {name: tmp_path / f"{name}.parquet" for name in frames}
        for name, frame in frames.items():
            frame.to_parquet(paths[name], index=False)
        return paths

    def test_by_text_whatever_the_column_is(self, store: FileLabelStore, tmp_path: Path) -> None:
        files = self.files(tmp_path, x=pd.DataFrame({"id": [7, 8]}), y=pd.DataFrame({"id": [9.0, np.nan]}))
        found = store.holders(files, "id", pd.Series(["8", "9", "10", "8"]))
        assert sorted(found.itertuples(index=False, name=None)) == [("8", "x"), ("9", "y")]

    def test_no_batch_or_no_label_or_no_such_column(self, store: FileLabelStore, tmp_path: Path) -> None:
        files = self.files(tmp_path, x=pd.DataFrame({"other": ["8"]}))
        for given, ids in ((files, ["8"]), ({}, ["8"]), (files, [])):
            assert store.holders(given, "id", pd.Series(ids, dtype=object)).empty

    def test_a_file_that_is_no_parquet_is_told_plainly(self, store: FileLabelStore, tmp_path: Path) -> None:
        (tmp_path / "x.parquet").write_text("no")
        with pytest.raises(BatchError, match="must be readable Parquet"):
            store.holders({"x": tmp_path / "x.parquet"}, "id", pd.Series(["8"]))


CHANGES = {
    "first": "id,y\n1,0\n2,1\n",
    "second": "id,y\n1,1\n",
    "third": "id,y\n1,0\n3,1\n",
}
TIMED = {
    "first": "id,y,label_timestamp\n1,0,2026-01-01\n2,1,2026-01-01\n",
    "second": "id,y,label_timestamp\n1,1,2026-01-02\n",
    "third": "id,y,label_timestamp\n1,0,2026-01-03\n3,1,2026-01-03\n",
}


def merged(store: FileLabelStore, contents: dict[str, str], brought: pd.Series = NO_LABELS) -> list[Any]:
    """The overlay after each of the files, taken and joined one after another."""
    found = []
    for order, (name, content) in enumerate(contents.items()):
        file_id = take(store, land(store, f"{name}.csv", content, order))
        rows = waiting(store)
        found.append(store.merge("m", "b", rows, brought))
        store.keep_waiting("m", rows[:0], [file_id], order)
    return found


def current(store: FileLabelStore) -> list[float]:
    return list(store.current("m", "b", pd.Series(["1", "2", "3"])))


class TestOverlay:
    def test_without_times_what_came_last_wins_and_the_old_is_kept(self, store: FileLabelStore) -> None:
        overlays = merged(store, CHANGES)
        assert current(store) == [0.0, 1.0, 1.0]
        assert [(o.rows, o.corrections) for o in overlays] == [(2, 0), (2, 1), (3, 2)]
        assert len({o.digest for o in overlays}) == 3
        assert len(list((store._folder("m") / "files").glob("*.parquet"))) == 3

    @pytest.mark.parametrize("order", list(itertools.permutations(TIMED)), ids="-".join)
    def test_with_times_the_newest_wins_in_whatever_order_they_come(
        self, store: FileLabelStore, order: tuple[str, ...]
    ) -> None:
        merged(store, {name: TIMED[name] for name in order})
        assert current(store) == [0.0, 1.0, 1.0]

    def test_all_at_once_is_the_same_as_one_after_another(self, store: FileLabelStore) -> None:
        for order, (name, content) in enumerate(CHANGES.items()):
            take(store, land(store, f"{name}.csv", content, order))
        store.merge("m", "b", waiting(store), NO_LABELS)
        assert current(store) == [0.0, 1.0, 1.0]

    def test_the_same_rows_again_change_nothing(self, store: FileLabelStore) -> None:
        take(store, land(store, "a.csv", CHANGES["first"]))
        rows, brought = waiting(store), pd.Series([1.0], index=["1"])
        before = store.merge("m", "b", rows, brought)
        written = store.overlay("m", "b").stat().st_mtime_ns
        assert store.merge("m", "b", rows, brought) == before
        assert store.overlay("m", "b").stat().st_mtime_ns == written
        assert before.corrections == 1, "the batch brought another label"

    def test_a_label_that_was_known_otherwise_is_a_correction_once(self, store: FileLabelStore) -> None:
        brought = pd.Series([1.0, np.nan, 1.0], index=[1, 2, 3])
        assert [o.corrections for o in merged(store, CHANGES, brought)] == [1, 2, 3]

    def test_ids_that_the_batch_keeps_as_numbers(self, store: FileLabelStore) -> None:
        merged(store, CHANGES)
        assert store.current("m", "b", pd.Series([3, 1, 99], index=[5, 6, 7])).to_dict() == pytest.approx(
            {5: 1.0, 6: 0.0, 7: np.nan}, nan_ok=True
        )


def test_a_missing_time_is_that_of_arrival(store: FileLabelStore) -> None:
    """A label without a time stands between those established before and after it came."""
    merged(store, {"timed": "id,y,label_timestamp\n1,0,2026-02-28\n2,1,2026-03-02\n", "untimed": "id,y\n1,1\n2,0\n"})
    assert current(store)[:2] == [1.0, 1.0]
