"""Keep batches as files under the home: landing, raw, clean, quarantine, reference. Never loses a landed byte."""

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.tables import first_event_time, read_table
from selfheal_assets.adapters.value_lookup import stands_in
from selfheal_assets.core.errors import BatchError, FileWithdrawnError, UnreadableFileError
from selfheal_assets.durable import move, replaced
from selfheal_assets.ports import LandedFile

if TYPE_CHECKING:
    import pandas as pd

STAGES = ("raw", "served", "repaired", "clean", "features", "scores", "training", "reference", "rollout")
"""The tables kept by batch id, but for `training` (by decision id), `reference` (by model version) and `rollout` (by
rollout id)."""


class FileBatchStore:
    """Batches of every model as Parquet files."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def landing(self, model: str) -> Path:
        return self._home / "landing" / model

    def landed(self, model: str) -> list[LandedFile]:
        """Files in place, by name. Hidden and `.tmp` names are still being written; links are not followed."""
        folder = self.landing(model)
        if not folder.is_dir():
            return []
        found = []
        for entry in sorted(os.scandir(folder), key=lambda e: e.name):
            if entry.name.startswith(".") or entry.name.endswith(".tmp") or not entry.is_file(follow_symlinks=False):
                continue
            # Its sender, or an ingest, may take it away while we look.
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                landed_at = datetime.fromtimestamp(status.st_mtime, UTC)
                found.append(LandedFile(path=Path(entry.path), size_bytes=status.st_size, landed_at=landed_at))
        return found

    @staticmethod
    def batch_id(file: Path) -> str:
        """Unique by name and content, and safe as a file name, a partition key and a tag."""
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").digest()
        digest = _identity(file.name, content)
        ascii_name = unicodedata.normalize("NFKD", file.stem).encode("ascii", "ignore").decode().lower()
        slug = re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")[:48].strip("-")
        return f"{slug or 'batch'}-{digest}"

    def take(self, model: str, batch_id: str, name: str, types: Mapping[str, str]) -> "pd.DataFrame":
        """Turn the landed file into the raw batch, and only then remove it. Doing it twice changes nothing.

        Raises UnreadableFileError after the original bytes are safe in the quarantine.
        """
        if self.has(model, "raw", batch_id):
            self._let_go(self._taken(model, batch_id, name))
            return self.read(model, "raw", batch_id)
        original = self._original(model, batch_id, name)
        source = original if original.exists() else self._claimed(model, batch_id, name)
        try:
            frame = read_table(source, types)
        except UnreadableFileError:
            if source != original:
                move(source, original)
                self._let_go(source)
            raise
        self.write(model, "raw", batch_id, frame)
        if source != original:
            self._let_go(source)
        return frame

    def _taken(self, model: str, batch_id: str, name: str) -> Path:
        """Where a landed file stands while it is being read: hidden, and still in landing."""
        return self.landing(model) / ".taken" / batch_id / name

    def _claimed(self, model: str, batch_id: str, name: str) -> Path:
        """The landed file, out of its sender's reach; the same one when it is claimed again after a crash.

        Raises FileWithdrawnError, with whatever stands there now put back, when it is not the batch any more.
        """
        source, taken = self.landing(model) / name, self._taken(model, batch_id, name)
        if not taken.exists():
            with suppress(FileNotFoundError):
                move(source, taken)
        if taken.exists() and self.batch_id(taken) == batch_id:
            return taken
        if taken.exists():
            self._give_back(taken, source)
        self._let_go(taken)
        raise FileWithdrawnError(
            "A registered file must stay in landing, unchanged, until its ingest takes it; "
            f"received {name!r}, which was removed or replaced by its sender. "
            "Nothing to do: what stands there now is a batch of its own."
        )

    def _give_back(self, taken: Path, source: Path) -> None:
        """Put a file back to where it was landed, under a name of its own when its sender has used the name again."""
        if source.exists() and source.samefile(taken):  # put back already, by a process that was killed right after
            return
        for place in (source, source.with_name(f"{self.batch_id(taken)}{source.suffix[:16]}")):
            with suppress(FileExistsError):
                os.link(taken, place)
                return

    def _let_go(self, taken: Path) -> None:
        taken.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            taken.parent.rmdir()

    def first_event_time(self, file: Path, column: str) -> datetime | None:
        """The earliest event time that can be had without reading the rows."""
        return first_event_time(file, column)

    def read_file(self, file: Path, types: Mapping[str, str]) -> "pd.DataFrame":
        """Any CSV or Parquet file as a typed table."""
        return read_table(file, types)

    def drop_duplicate(self, model: str, name: str, batch_id: str) -> bool:
        """Remove a landed copy of a batch that is known already; True when that is what stood there."""
        try:
            self._let_go(self._claimed(model, batch_id, name))
        except FileWithdrawnError:
            return False
        return True

    def path(self, model: str, stage: str, batch_id: str) -> Path:
        if stage not in STAGES:
            raise BatchError(f"A batch is kept in one of {STAGES}; received {stage!r}. Correct the caller.")
        return self._home / "batches" / model / stage / f"{batch_id}.parquet"

    def has(self, model: str, stage: str, batch_id: str) -> bool:
        return self.path(model, stage, batch_id).exists()

    def write(self, model: str, stage: str, batch_id: str, frame: "pd.DataFrame") -> Path:
        target = self.path(model, stage, batch_id)
        _write_parquet(frame, target)
        return target

    def read(self, model: str, stage: str, batch_id: str) -> "pd.DataFrame":
        source = self.path(model, stage, batch_id)
        if not source.exists():
            raise BatchError(
                f"The {stage} rows of a batch must exist before they are read; received {batch_id!r}, which has none. "
                f"Materialize {model}/{stage}_batch for this partition first."
            )
        return _read_parquet(source)

    def remove(self, model: str, stage: str, batch_id: str) -> None:
        self.path(model, stage, batch_id).unlink(missing_ok=True)

    def files(self, model: str, stage: str) -> list[Path]:
        """Every batch's file of a stage."""
        return sorted(self.path(model, stage, "x").parent.glob("[!.]*.parquet"))

    def earlier(self, model: str, batch_id: str) -> "Callable[[str, pd.Series], pd.Series]":
        """A look-up over all other clean batches: which of the values stand in that column."""

        def stands(column: str, values: "pd.Series") -> "pd.Series":
            others = [f for f in self.files(model, "clean") if f.stem != batch_id]
            return stands_in(others, column, values)

        return stands

    def quarantine(self, model: str, batch_id: str) -> Path:
        """The folder of a quarantined batch: rows.parquet or original/, and reason.json."""
        return self._home / "quarantine" / model / batch_id

    def write_quarantine(
        self, model: str, batch_id: str, rows: "pd.DataFrame | None", reason: Mapping[str, Any]
    ) -> Path:
        """Keep the rows (None when the file was not a table) and why they are here."""
        folder = self.quarantine(model, batch_id)
        if rows is not None:
            _write_parquet(rows, folder / "rows.parquet")
        with replaced(folder / "reason.json") as draft:
            draft.write_text(json.dumps(reason, indent=2, default=str), encoding="utf-8")
        return folder

    def _original(self, model: str, batch_id: str, name: str) -> Path:
        return self.quarantine(model, batch_id) / "original" / f"bytes{Path(name).suffix.lower()[:16]}"

    def quarantine_whole(self, model: str, batch_id: str, name: str, reason: str) -> int:
        """Keep a batch that could not be ingested, as landed, raw or repaired, and drop what its ingest had begun.

        Returns the number of its rows, 0 when they cannot be counted.
        """
        stage = next((stage for stage in ("repaired", "raw") if self.has(model, stage, batch_id)), None)
        rows = self.read(model, stage, batch_id) if stage else None
        if rows is None and not self._original(model, batch_id, name).exists():
            with suppress(FileWithdrawnError):
                taken = self._claimed(model, batch_id, name)
                move(taken, self._original(model, batch_id, name))
                self._let_go(taken)
        self.write_quarantine(model, batch_id, rows, {"file_name": name, "reasons": [reason]})
        for half_done in ("clean", "features", "scores"):
            self.remove(model, half_done, batch_id)
        return 0 if rows is None else len(rows)

    def read_quarantine(self, model: str, batch_id: str) -> "tuple[pd.DataFrame | None, dict[str, Any]]":
        folder = self.quarantine(model, batch_id)
        if not (folder / "reason.json").exists():
            raise BatchError(
                f"The batch must be in quarantine; received {batch_id!r}, which is not. "
                "See `selfheal quarantine list` for those that are."
            )
        reason = json.loads((folder / "reason.json").read_text(encoding="utf-8"))
        rows = folder / "rows.parquet"
        return (_read_parquet(rows) if rows.exists() else None), reason

    def retire_quarantine(self, model: str, batch_id: str) -> None:
        """Put a quarantine folder aside, whole, after its rows were released or discarded."""
        folder = self.quarantine(model, batch_id)
        if folder.exists():
            aside = folder.parent / ".retired"
            count = len(list(aside.glob(f"{batch_id}.*"))) if aside.exists() else 0
            move(folder, aside / f"{batch_id}.{count + 1}")

    def document(self, model: str, name: str) -> Path:
        """Where a JSON document about the model is kept."""
        return self._home / "documents" / model / f"{name}.json"

    def write_document(self, model: str, name: str, content: Mapping[str, Any]) -> Path:
        with replaced(self.document(model, name)) as draft:
            draft.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")
        return self.document(model, name)

    def read_document(self, model: str, name: str) -> dict[str, Any] | None:
        """The document, or None when it was never written."""
        source = self.document(model, name)
        return json.loads(source.read_text(encoding="utf-8")) if source.exists() else None


def _identity(name: str, content: bytes) -> str:
    return hashlib.sha256(os.fsencode(name) + b"\0" + content).hexdigest()[:10]


def _write_parquet(frame: "pd.DataFrame", target: Path) -> None:
    with replaced(target) as draft:
        frame.to_parquet(draft, index=False, coerce_timestamps="us", allow_truncated_timestamps=True)


def _read_parquet(source: Path) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_parquet(source)
