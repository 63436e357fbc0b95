"""What every batch store keeps to, over the home's disk as over an S3-compatible object store."""

import re
from abc import ABC, abstractmethod
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pytest
from servers import CANARY, ObjectStore

from selfheal_assets.adapters.batch_store import FileBatchStore
from selfheal_assets.adapters.object_bucket import Bucket
from selfheal_assets.adapters.object_files import ObjectFiles
from selfheal_assets.core.errors import BatchError, FileWithdrawnError, ServiceError, UnreadableFileError

ROWS = b"id,amount\n1,0.5\n2,1.5\n"
OTHER = b"id,amount\n7,7.5\n"
TYPES = {"id": "string", "amount": "float"}
FRAME = pd.DataFrame({"id": ["1", "2"], "at": pd.to_datetime(["2026-01-01", "2026-01-02"], utc=True).as_unit("us")})


class BatchStoreContract(ABC):
    @abstractmethod
    def opened(self, folder: Path) -> FileBatchStore:
        """A store over the same place, as another process, or another machine, opens it."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> FileBatchStore:
        return self.opened(tmp_path / "one")

    @pytest.fixture
    def other(self, store: FileBatchStore, tmp_path: Path) -> FileBatchStore:  # noqa: ARG002 - after the first
        return self.opened(tmp_path / "two")

    def land(self, store: FileBatchStore, name: str = "a.csv", content: bytes = ROWS) -> str:
        """The batch id of the file in landing."""
        file = store.landing("m") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        (landed,) = (found for found in store.landed("m") if found.path.name == name)
        assert landed.size_bytes == len(content)
        return store.batch_id(landed.path)

    def names(self, store: FileBatchStore) -> list[str]:
        return [file.path.name for file in store.landed("m")]

    def test_nothing_is_there_at_first(self, store: FileBatchStore) -> None:
        assert store.landed("m") == []
        assert store.files("m", "clean") == []
        assert store.read_document("m", "x") is None
        assert not store.has("m", "raw", "b")
        assert not store.in_quarantine("m", "b")
        store.remove("m", "raw", "b")
        with pytest.raises(BatchError, match="must exist before they are read"):
            store.read("m", "raw", "b")

    def test_what_one_writes_the_other_reads(self, store: FileBatchStore, other: FileBatchStore) -> None:
        store.write("m", "clean", "b1", FRAME)
        store.write_document("m", "profile", {"rows": 2})
        pd.testing.assert_frame_equal(other.read("m", "clean", "b1"), FRAME)
        assert other.read_document("m", "profile") == {"rows": 2}
        assert [file.stem for file in other.files("m", "clean")] == ["b1"]
        pd.testing.assert_frame_equal(pd.read_parquet(other.files("m", "clean")[0]), FRAME)

    def test_the_newest_is_read(self, store: FileBatchStore, other: FileBatchStore) -> None:
        store.write("m", "clean", "b1", FRAME)
        assert len(other.read("m", "clean", "b1")) == 2
        other.write("m", "clean", "b1", FRAME.iloc[:1])
        assert len(store.read("m", "clean", "b1")) == 1
        assert len(pd.read_parquet(store.files("m", "clean")[0])) == 1
        other.remove("m", "clean", "b1")
        assert not store.has("m", "clean", "b1")
        assert store.files("m", "clean") == []

    def test_a_landed_file_becomes_the_raw_batch_and_leaves(self, store: FileBatchStore, other: FileBatchStore) -> None:
        batch_id = self.land(store)
        assert re.fullmatch(r"a-[0-9a-f]{10}", batch_id)
        assert self.names(other) == ["a.csv"]
        assert other.batch_id(other.landed("m")[0].path) == batch_id
        frame = other.take("m", batch_id, "a.csv", TYPES).frame()
        assert frame.to_dict("list") == {"id": ["1", "2"], "amount": [0.5, 1.5]}
        assert self.names(store) == []
        pd.testing.assert_frame_equal(store.take("m", batch_id, "a.csv", {}).frame(), frame)

    def test_one_that_was_replaced_is_withdrawn_and_stays(self, store: FileBatchStore) -> None:
        batch_id = self.land(store)
        self.replace(store, "a.csv", OTHER)
        with pytest.raises(FileWithdrawnError, match="removed or replaced by its sender"):
            store.take("m", batch_id, "a.csv", TYPES)
        (kept,) = store.landed("m")
        assert store.batch_id(kept.path) != batch_id
        assert kept.path.read_bytes() == OTHER

    @abstractmethod
    def replace(self, store: FileBatchStore, name: str, content: bytes) -> None:
        """What a sender does who uses a name again."""

    def test_bytes_that_are_no_table_are_kept(self, store: FileBatchStore, other: FileBatchStore) -> None:
        batch_id = self.land(store, "a.parquet", b"PAR1 not a table")
        for each in (store, other):
            with pytest.raises(UnreadableFileError):
                each.take("m", batch_id, "a.parquet", TYPES)
        assert self.names(store) == []
        assert other.quarantine_whole("m", batch_id, "a.parquet", "why") == 0
        rows, reason = store.read_quarantine("m", batch_id)
        assert rows is None
        assert reason == {"file_name": "a.parquet", "reasons": ["why"]}

    def test_quarantine_and_the_way_back(self, store: FileBatchStore, other: FileBatchStore) -> None:
        store.write_quarantine("m", "b1", FRAME, {"reasons": ["because"]})
        assert other.in_quarantine("m", "b1")
        rows, reason = other.read_quarantine("m", "b1")
        pd.testing.assert_frame_equal(rows, FRAME)
        assert reason == {"reasons": ["because"]}
        other.retire_quarantine("m", "b1")
        assert not store.in_quarantine("m", "b1")
        store.write_quarantine("m", "b1", None, {"reasons": ["again"]})
        assert store.read_quarantine("m", "b1")[0] is None, "not the rows of the time before"
        store.retire_quarantine("m", "b1")
        assert self.retired(other) == ["b1.1", "b1.2"]

    @abstractmethod
    def retired(self, store: FileBatchStore) -> list[str]: ...

    def test_a_known_file_that_comes_again_is_dropped(self, store: FileBatchStore, other: FileBatchStore) -> None:
        batch_id = self.land(store)
        store.take("m", batch_id, "a.csv", TYPES)
        assert self.land(store) == batch_id
        assert other.drop_duplicate("m", "a.csv", batch_id)
        assert self.names(store) == []
        assert not other.drop_duplicate("m", "a.csv", batch_id)

    def test_values_are_looked_up_over_all_other_batches(self, store: FileBatchStore, other: FileBatchStore) -> None:
        store.write("m", "clean", "b1", FRAME)
        stands = other.earlier("m", "b2")("id", pd.Series(["2", "9"]))
        assert stands.tolist() == [True, False]


class TestHome(BatchStoreContract):
    def opened(self, folder: Path) -> FileBatchStore:
        return FileBatchStore(folder.parent / "home")

    def replace(self, store: FileBatchStore, name: str, content: bytes) -> None:
        (store.landing("m") / name).write_bytes(content)

    def retired(self, store: FileBatchStore) -> list[str]:
        return sorted(path.name for path in (store.quarantine("m", "x").parent / ".retired").iterdir())


class TestObjectStore(BatchStoreContract):
    root = ""
    bucket: Bucket
    server: ObjectStore

    @pytest.fixture(autouse=True)
    def _bucket(self, objects: ObjectStore) -> None:
        self.server = objects
        self.root = objects.bucket(f"b{uuid4().hex}")
        self.bucket = Bucket(self.root, objects.options())

    def opened(self, folder: Path) -> FileBatchStore:
        """Each with a disk of its own."""
        return FileBatchStore(folder, ObjectFiles(folder, Bucket(self.root, self.server.options())))

    def replace(self, store: FileBatchStore, name: str, content: bytes) -> None:
        draft = store.landing("m").parent / "draft"
        draft.write_bytes(content)
        self.bucket.upload(draft, f"landing/m/{name}")

    def retired(self, store: FileBatchStore) -> list[str]:  # noqa: ARG002 - the bucket is the same
        return sorted(self.bucket.folders("quarantine/m/.retired"))

    def test_a_file_of_the_home_from_before_is_neither_seen_nor_removed(self, store: FileBatchStore) -> None:
        old = store.path("m", "clean", "old")
        old.parent.mkdir(parents=True)
        FRAME.to_parquet(old)
        assert not store.has("m", "clean", "old")
        assert store.files("m", "clean") == []
        store.remove("m", "clean", "old")
        assert old.exists()

    def test_a_copy_that_was_written_to_is_not_trusted(self, store: FileBatchStore) -> None:
        path = store.write("m", "clean", "b1", FRAME)
        FRAME.iloc[:1].to_parquet(path)
        assert len(store.read("m", "clean", "b1")) == 2

    def test_an_upload_that_fails_leaves_nothing(self, store: FileBatchStore, monkeypatch: pytest.MonkeyPatch) -> None:
        store.write("m", "clean", "b1", FRAME)

        def refused(*_: object, **__: object) -> bool:
            raise ServiceError("no")

        with monkeypatch.context() as patched:
            patched.setattr(Bucket, "upload", refused)
            with pytest.raises(ServiceError):
                store.write("m", "clean", "b1", FRAME.iloc[:1])
            with pytest.raises(ServiceError):
                store.write("m", "clean", "b2", FRAME)
        assert len(store.read("m", "clean", "b1")) == 2
        assert [file.stem for file in store.files("m", "clean")] == ["b1"]
        assert [path.name for path in store.path("m", "clean", "b1").parent.iterdir()] == ["b1.parquet"]

    def test_a_name_that_is_taken_in_the_store_is_not_overwritten(self, store: FileBatchStore) -> None:
        """Two machines land other content under one name: the second waits at its sender's until the name is free."""
        first = self.land(store)
        waiting = store.landing("m") / "a.csv"
        waiting.write_bytes(OTHER)
        (landed,) = store.landed("m")
        assert store.batch_id(landed.path) == first
        assert waiting.exists()
        store.take("m", first, "a.csv", TYPES)
        (landed,) = store.landed("m")
        assert store.take("m", store.batch_id(landed.path), "a.csv", TYPES).frame()["id"].tolist() == ["7"]
        assert not waiting.exists()

    def test_a_relay_that_was_killed_before_its_end_is_no_second_batch(self, store: FileBatchStore) -> None:
        first = self.land(store)
        again = store.landing("m") / "a.csv"
        again.write_bytes(ROWS)
        (landed,) = store.landed("m")
        assert store.batch_id(landed.path) == first
        assert not again.exists()

    def test_a_name_used_again_while_it_is_claimed_stays(
        self, store: FileBatchStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch_id, copy = self.land(store), Bucket.copy

        def overtaken(bucket: Bucket, source: object, target: str) -> None:
            copy(bucket, source, target)  # type: ignore[arg-type]
            self.replace(store, "a.csv", OTHER)

        with monkeypatch.context() as patched:
            patched.setattr(Bucket, "copy", overtaken)
            assert len(store.take("m", batch_id, "a.csv", TYPES)) == 2
        (landed,) = store.landed("m")
        assert store.batch_id(landed.path) != batch_id

    def test_a_store_that_is_away_is_a_service_error(self, tmp_path: Path) -> None:
        options = {**self.server.options(), "endpoint_url": "http://127.0.0.1:9"}
        away = FileBatchStore(tmp_path, ObjectFiles(tmp_path, Bucket(self.root, options)))
        with pytest.raises(
            ServiceError, match=r"must take and give files; received from s3://.*selfheal doctor"
        ) as told:
            away.has("m", "raw", "b")
        assert CANARY not in repr(told.value)

    def test_a_file_of_another_place_is_refused(self, store: FileBatchStore) -> None:
        with pytest.raises(BatchError, match=r"must be of the home .*received /elsewhere"):
            store._files.present(Path("/elsewhere"))
