"""Keep late labels as files under the home: landed, taken, waiting, laid over a batch. Never loses or forgets one."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from selfheal_assets.adapters.batch_store import batch_id_of
from selfheal_assets.adapters.home_files import HomeFiles
from selfheal_assets.adapters.label_files import checked_labels, read_label_file
from selfheal_assets.adapters.label_overlay import laid_over, overlay_of
from selfheal_assets.adapters.value_lookup import as_text, holders_of
from selfheal_assets.core.errors import BatchError
from selfheal_assets.core.model_spec import DataSpec
from selfheal_assets.durable import move, replaced
from selfheal_assets.ports import LandedFile, LookedAt, Overlay
from selfheal_assets.ports.labels import LABEL_TIMESTAMP

if TYPE_CHECKING:
    import pandas as pd

LOCK_SECONDS = 600.0
REST = "rest"
"""The waiting labels of files whose join has ended. No file id: those end in a digest."""


@dataclass(frozen=True, kw_only=True)
class _State:
    """What is counted over all label files of a model."""

    joins: int = 0
    sequence: int = 0
    arrivals: int = 0


class FileLabelStore:
    """The `LabelStore` port: label files of every model as Parquet files."""

    def __init__(self, home: Path, files: HomeFiles | None = None) -> None:
        """`files`: where the batches stand that labels are joined to. The labels themselves stand in the home."""
        self._home = home
        self._files = files or HomeFiles()

    def _folder(self, model: str) -> Path:
        return self._home / "labels" / model

    def landing(self, model: str) -> Path:
        return self._home / "landing" / model / "labels"

    def landed(self, model: str) -> list[LandedFile]:
        """Files in place, in the order in which they came. Hidden and `.tmp` names are still being written."""
        folder = self.landing(model)
        found = []
        for place in (folder, *sorted((folder / ".taken").glob("*"))):
            if not place.is_dir():
                continue
            for entry in os.scandir(place):
                hidden = place == folder and entry.name.startswith(".")
                if hidden or entry.name.endswith(".tmp") or not entry.is_file(follow_symlinks=False):
                    continue
                with suppress(FileNotFoundError):  # Taken away by its sender while we look.
                    status = entry.stat(follow_symlinks=False)
                    landed_at = datetime.fromtimestamp(status.st_mtime, UTC)
                    found.append(LandedFile(path=Path(entry.path), size_bytes=status.st_size, landed_at=landed_at))
        return sorted(found, key=lambda file: (file.landed_at, file.path.name))

    @staticmethod
    def file_id(file: Path) -> str:
        return batch_id_of(file)

    def _taken(self, model: str, file_id: str) -> Path:
        """A file that was taken, every column as it came; kept for ever."""
        return self._folder(model) / "files" / f"{file_id}.parquet"

    def known(self, model: str, file_id: str) -> bool:
        return self._taken(model, file_id).exists()

    def drop_duplicate(self, model: str, file: Path) -> bool:
        file_id = self.claim(model, file)
        if file_id is None or not self.known(model, file_id):
            return False
        self._let_go(model, file_id)
        return True

    @contextmanager
    def joining(self, model: str) -> Iterator[None]:
        from filelock import FileLock, Timeout

        folder = self._folder(model)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / ".joining.lock", timeout=LOCK_SECONDS):
                yield
        except Timeout as error:
            raise BatchError(
                f"Labels must be joined by one process at a time; received none of the turn in {LOCK_SECONDS:.0f} s. "
                f"See which run of {model}_labels is at work, and end it if it is stuck."
            ) from error

    def _claimed(self, model: str, file_id: str) -> Path | None:
        """Where a landed file stands once its sender cannot change it any more."""
        folder = self.landing(model) / ".taken" / file_id
        return next(iter(folder.iterdir()), None) if folder.is_dir() else None

    def claim(self, model: str, file: Path) -> str | None:
        held = self.landing(model) / ".taken"
        if file.parent.parent == held:
            return file.parent.name
        with suppress(FileNotFoundError):
            seen = self.file_id(file)
            move(file, held / seen / file.name)
            # Its sender may have put another in its place between the two.
            claimed = self.file_id(held / seen / file.name)
            if claimed != seen:
                move(held / seen / file.name, held / claimed / file.name)
                (held / seen).rmdir()
            return claimed
        return None

    def _let_go(self, model: str, file_id: str) -> None:
        claimed = self._claimed(model, file_id)
        if claimed:
            claimed.unlink()
        with suppress(FileNotFoundError):
            (self.landing(model) / ".taken" / file_id).rmdir()

    def take(self, model: str, file_id: str, data: DataSpec, types: Mapping[str, str], now: datetime) -> None:
        import pandas as pd

        claimed = self._claimed(model, file_id)
        if claimed is None or self.known(model, file_id):
            return self._let_go(model, file_id)
        frame = read_label_file(claimed, data, types)
        labels = checked_labels(frame, data)
        if self._pending(model, file_id) is None:  # else: killed after this, when it was taken before
            state = self._state(model)
            self._write_state(model, replace(state, arrivals=state.arrivals + 1))
            known_at = labels[LABEL_TIMESTAMP].fillna(pd.Timestamp(now)).astype("datetime64[us, UTC]")
            labels = labels.assign(known_at=known_at, arrival=state.arrivals + 1, file_id=file_id)
            _write(labels, self._waiting(model) / f"{state.arrivals + 1:010d}_{file_id}.parquet")
        _write(frame, self._taken(model, file_id))
        os.utime(self._taken(model, file_id), (now.timestamp(), now.timestamp()))
        return self._let_go(model, file_id)

    def quarantined(self, model: str, file_id: str) -> Path:
        """The folder of a label file that cannot be used: its bytes or its rows, and reason.json."""
        return self._home / "labels_quarantine" / model / file_id

    def quarantine(self, model: str, file_id: str, reason: str) -> Path:
        folder = self.quarantined(model, file_id)
        claimed, pending = self._claimed(model, file_id), self._pending(model, file_id)
        with replaced(folder / "reason.json") as draft:
            content = {"file_name": claimed.name if claimed else None, "reasons": [reason]}
            draft.write_text(json.dumps(content, indent=2), encoding="utf-8")
        if claimed:
            move(claimed, folder / f"bytes{claimed.suffix.lower()[:16]}")
            self._let_go(model, file_id)
        if self.known(model, file_id):
            move(self._taken(model, file_id), folder / "rows.parquet")
        if pending:
            pending.unlink()
        return folder

    def _waiting(self, model: str) -> Path:
        return self._folder(model) / "waiting"

    def _pending(self, model: str, file_id: str) -> Path | None:
        return next(iter(self._waiting(model).glob(f"*_{file_id}.parquet")), None)

    def pending(self, model: str) -> list[str]:
        return [path.stem.split("_", 1)[1] for path in sorted(self._waiting(model).glob("[0-9]*_*.parquet"))]

    def waiting(self, model: str, pending: Sequence[str]) -> "pd.DataFrame":
        import pandas as pd

        paths = [self._waiting(model) / f"{REST}.parquet", *(self._pending(model, file_id) for file_id in pending)]
        frames = [pd.read_parquet(path) for path in paths if path is not None and path.exists()]
        filled = [frame for frame in frames if len(frame)]
        if not filled:
            return pd.DataFrame(columns=["event_id", "label", LABEL_TIMESTAMP, "known_at", "arrival", "file_id"])
        # A file whose join was killed at its end stands in the rest as well.
        found = pd.concat(filled, ignore_index=True)
        return found.drop_duplicates(["event_id", "known_at", "file_id"], ignore_index=True)

    def waiting_rows(self, model: str) -> int:
        return _rows_of(self._waiting(model))

    def _state(self, model: str) -> _State:
        path = self._folder(model) / "state.json"
        return _State(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else _State()

    def _write_state(self, model: str, state: _State) -> None:
        with replaced(self._folder(model) / "state.json") as draft:
            draft.write_text(json.dumps(asdict(state)), encoding="utf-8")

    def looked_at(self, model: str) -> LookedAt:
        state = self._state(model)
        return LookedAt(joins=state.joins, sequence=state.sequence)

    def keep_waiting(self, model: str, rows: "pd.DataFrame", joined: Sequence[str], sequence: int) -> None:
        rest = self._waiting(model) / f"{REST}.parquet"
        if len(rows):
            _write(rows, rest)
        else:
            rest.unlink(missing_ok=True)
        state = self._state(model)
        self._write_state(model, replace(state, joins=state.joins + 1, sequence=sequence))
        for file_id in joined:
            pending = self._pending(model, file_id)
            if pending:
                pending.unlink()

    def set_aside(self, model: str, before: datetime) -> int:
        rest = _read(self._waiting(model) / f"{REST}.parquet")
        if rest is None or rest.empty:
            return 0
        taken = {file_id: self._taken(model, file_id) for file_id in rest["file_id"].unique()}
        old = [f for f, path in taken.items() if path.exists() and path.stat().st_mtime < before.timestamp()]
        for file_id in old:  # By its file: killed before the rest is written, the same is done again.
            _write(rest[rest["file_id"] == file_id], self._unmatched(model) / f"{file_id}.parquet")
        if old:
            _write(rest[~rest["file_id"].isin(old)], self._waiting(model) / f"{REST}.parquet")
        return int(rest["file_id"].isin(old).sum())

    def _unmatched(self, model: str) -> Path:
        return self._folder(model) / "unmatched"

    def unmatched_rows(self, model: str) -> int:
        return _rows_of(self._unmatched(model))

    def holders(self, files: Mapping[str, Path], column: str, event_ids: "pd.Series") -> "pd.DataFrame":
        for folder in {path.parent for path in files.values()}:
            self._files.listing(folder, only=files.values())
        found = holders_of(files, column, event_ids)
        return found.rename(columns={"value": "event_id", "holder": "batch_id"})

    def overlay(self, model: str, batch_id: str) -> Path:
        """The labels that came for the rows of a batch, one row an event id."""
        return self._folder(model) / "batches" / f"{batch_id}.parquet"

    def merge(self, model: str, batch_id: str, rows: "pd.DataFrame", brought: "pd.Series") -> Overlay:
        path = self.overlay(model, batch_id)
        before = _read(path)
        own = brought.set_axis(as_text(brought.index.to_series()).to_numpy()).astype("float64")
        after = laid_over(before, rows, own[~own.index.duplicated()])
        if before is None or not after.equals(before):
            _write(after, path)
        return overlay_of(after)

    def current(self, model: str, batch_id: str, event_ids: "pd.Series") -> "pd.Series | None":
        overlay = _read(self.overlay(model, batch_id))
        if overlay is None:
            return None
        return as_text(event_ids).map(overlay.set_index("event_id")["label"]).astype("float64")


def _rows_of(folder: Path) -> int:
    from pyarrow import parquet

    return sum(parquet.read_metadata(path).num_rows for path in folder.glob("[!.]*.parquet"))


def _write(frame: "pd.DataFrame", target: Path) -> None:
    with replaced(target) as draft:
        frame.to_parquet(draft, index=False, coerce_timestamps="us", allow_truncated_timestamps=True)


def _read(source: Path) -> "pd.DataFrame | None":
    import pandas as pd

    return pd.read_parquet(source) if source.exists() else None
