"""Keep batches as files: landing, raw, clean, quarantine, reference. Never loses a landed byte."""

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.home_files import HomeFiles
from selfheal_assets.adapters.large_tables import read_parts
from selfheal_assets.adapters.stored_rows import Adding, StoredRows, from_parts, write_parquet
from selfheal_assets.adapters.tables import first_event_time, read_table
from selfheal_assets.adapters.value_lookup import stands_in
from selfheal_assets.core.errors import BatchError, FileWithdrawnError, UnreadableFileError
from selfheal_assets.ports import LandedFile

if TYPE_CHECKING:
    import pandas as pd

STAGES = ("raw", "served", "repaired", "clean", "features", "scores", "training", "reference", "rollout")
"""The tables kept by batch id, but for `training` (by decision id), `reference` (by model version) and `rollout` (by
rollout id)."""


class FileBatchStore:
    """Batches of every model as Parquet files, of the home or of an object store."""

    def __init__(self, home: Path, files: HomeFiles | None = None) -> None:
        self._home = home
        self._files = files or HomeFiles()

    def landing(self, model: str) -> Path:
        return self._home / "landing" / model

    def landed(self, model: str) -> list[LandedFile]:
        """Files in place, by name. Hidden and `.tmp` names are still being written; links are not followed."""
        return self._files.landed(self.landing(model))

    def relay(self, model: str) -> None:
        """Send what was landed on this machine to where all look for it; nothing to do where that is this machine."""
        self._files.relay(self.landing(model))

    def batch_id(self, file: Path) -> str:
        """Unique by name and content, and safe as a file name, a partition key and a tag."""
        self._files.present(file)
        return batch_id_of(file)

    def take(self, model: str, batch_id: str, name: str, types: Mapping[str, str]) -> StoredRows:
        """Turn the landed file into the raw batch, and only then remove it. Doing it twice changes nothing.

        Raises UnreadableFileError after the original bytes are safe in the quarantine.
        """
        if self.has(model, "raw", batch_id):
            self._let_go(self._taken(model, batch_id, name))
            return self.rows(model, "raw", batch_id)
        original = self._original(model, batch_id, name)
        source = original if self._files.present(original) else self._claimed(model, batch_id, name)
        try:
            with self.writing(model, "raw", batch_id) as add:
                for part in read_parts(source, types, self.path(model, "raw", batch_id).parent):
                    add(part)
        except UnreadableFileError:
            if source != original:
                self._files.move(source, original)
                self._let_go(source)
            raise
        if source != original:
            self._let_go(source)
        return self.rows(model, "raw", batch_id)

    def _taken(self, model: str, batch_id: str, name: str) -> Path:
        """Where a landed file stands while it is being read: hidden, and still in landing."""
        return self.landing(model) / ".taken" / batch_id / name

    def _claimed(self, model: str, batch_id: str, name: str) -> Path:
        """The landed file, out of its sender's reach; the same one when it is claimed again after a crash.

        Raises FileWithdrawnError, with whatever stands there now put back, when it is not the batch any more.
        """
        source, taken = self.landing(model) / name, self._taken(model, batch_id, name)
        if not self._files.present(taken):
            with suppress(FileNotFoundError):
                self._files.move(source, taken)
        there = self._files.present(taken)
        if there and batch_id_of(taken) == batch_id:
            return taken
        if there:
            self._give_back(taken, source)
        self._let_go(taken)
        raise FileWithdrawnError(
            "A registered file must stay in landing, unchanged, until its ingest takes it; "
            f"received {name!r}, which was removed or replaced by its sender. "
            "Nothing to do: what stands there now is a batch of its own."
        )

    def _give_back(self, taken: Path, source: Path) -> None:
        """Put a file back to where it was landed, under a name of its own when its sender has used the name again."""
        for place in (source, source.with_name(f"{batch_id_of(taken)}{source.suffix[:16]}")):
            if self._files.put_back(taken, place):
                return

    def _let_go(self, taken: Path) -> None:
        self._files.remove(taken)
        with suppress(FileNotFoundError):
            taken.parent.rmdir()

    def first_event_time(self, file: Path, column: str) -> datetime | None:
        """The earliest event time that can be had without reading the rows."""
        self._files.present(file)
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
        return self._files.present(self.path(model, stage, batch_id))

    def write(self, model: str, stage: str, batch_id: str, frame: "pd.DataFrame") -> Path:
        target = self.path(model, stage, batch_id)
        with self._files.replaced(target) as draft:
            write_parquet(frame, draft)
        return target

    @contextmanager
    def writing(self, model: str, stage: str, batch_id: str) -> Iterator[Adding]:
        """Yields what takes the rows by parts, in order; the file is in place when all are in."""
        with self._files.replaced(self.path(model, stage, batch_id)) as draft, from_parts(draft) as add:
            yield add

    def read(self, model: str, stage: str, batch_id: str) -> "pd.DataFrame":
        return _read_parquet(self._there(model, stage, batch_id))

    def rows(self, model: str, stage: str, batch_id: str) -> StoredRows:
        """The same rows, read as they are asked for."""
        return StoredRows(self._there(model, stage, batch_id))

    def _there(self, model: str, stage: str, batch_id: str) -> Path:
        source = self.path(model, stage, batch_id)
        if not self._files.present(source):
            raise BatchError(
                f"The {stage} rows of a batch must exist before they are read; received {batch_id!r}, which has none. "
                f"Materialize {model}/{stage}_batch for this partition first."
            )
        return source

    def remove(self, model: str, stage: str, batch_id: str) -> None:
        self._files.remove(self.path(model, stage, batch_id))

    def files(self, model: str, stage: str) -> list[Path]:
        """Every batch's file of a stage."""
        folder = self.path(model, stage, "x").parent
        return [file for file in self._files.listing(folder) if file.suffix == ".parquet"]

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
            with self._files.replaced(folder / "rows.parquet") as draft:
                write_parquet(rows, draft)
        with self._files.replaced(folder / "reason.json") as draft:
            draft.write_text(json.dumps(reason, indent=2, default=str), encoding="utf-8")
        return folder

    @contextmanager
    def quarantining(self, model: str, batch_id: str) -> Iterator[Adding]:
        """Yields what takes the rows by parts. They are in quarantine once `write_quarantine` has said why."""
        rows = self.quarantine(model, batch_id) / "rows.parquet"
        with self._files.replaced(rows) as draft, from_parts(draft) as add:
            yield add

    def _original(self, model: str, batch_id: str, name: str) -> Path:
        return self.quarantine(model, batch_id) / "original" / f"bytes{Path(name).suffix.lower()[:16]}"

    def quarantine_whole(self, model: str, batch_id: str, name: str, reason: str) -> int:
        """Keep a batch that could not be ingested, as landed, raw or repaired, and drop what its ingest had begun.

        Returns the number of its rows, 0 when they cannot be counted.
        """
        stage = next((stage for stage in ("repaired", "raw") if self.has(model, stage, batch_id)), None)
        rows = self.rows(model, stage, batch_id) if stage else None
        if rows is None and not self._files.present(self._original(model, batch_id, name)):
            with suppress(FileWithdrawnError):
                taken = self._claimed(model, batch_id, name)
                self._files.move(taken, self._original(model, batch_id, name))
                self._let_go(taken)
        if rows is not None:
            with self.quarantining(model, batch_id) as add:
                for part in rows.parts():
                    add(part)
        self.write_quarantine(model, batch_id, None, {"file_name": name, "reasons": [reason]})
        for half_done in ("clean", "features", "scores"):
            self.remove(model, half_done, batch_id)
        return 0 if rows is None else len(rows)

    def read_quarantine(self, model: str, batch_id: str) -> "tuple[pd.DataFrame | None, dict[str, Any]]":
        folder = self.quarantine(model, batch_id)
        if not self.in_quarantine(model, batch_id):
            raise BatchError(
                f"The batch must be in quarantine; received {batch_id!r}, which is not. "
                "See `selfheal quarantine list` for those that are."
            )
        reason = json.loads((folder / "reason.json").read_text(encoding="utf-8"))
        rows = folder / "rows.parquet"
        return (_read_parquet(rows) if self._files.present(rows) else None), reason

    def in_quarantine(self, model: str, batch_id: str) -> bool:
        return self._files.present(self.quarantine(model, batch_id) / "reason.json")

    def retire_quarantine(self, model: str, batch_id: str) -> None:
        """Put a quarantine folder aside, whole, after its rows were released or discarded."""
        folder = self.quarantine(model, batch_id)
        if self.in_quarantine(model, batch_id) or folder.exists():
            aside = folder.parent / ".retired"
            count = self._files.folders(aside, f"{batch_id}.")
            self._files.move_folder(folder, aside / f"{batch_id}.{count + 1}")

    def document(self, model: str, name: str) -> Path:
        """Where a JSON document about the model is kept."""
        return self._home / "documents" / model / f"{name}.json"

    def write_document(self, model: str, name: str, content: Mapping[str, Any]) -> Path:
        with self._files.replaced(self.document(model, name)) as draft:
            draft.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")
        return self.document(model, name)

    def read_document(self, model: str, name: str) -> dict[str, Any] | None:
        """The document, or None when it was never written."""
        source = self.document(model, name)
        return json.loads(source.read_text(encoding="utf-8")) if self._files.present(source) else None


def batch_id_of(file: Path) -> str:
    """Unique by name and content, and safe as a file name, a partition key and a tag."""
    with file.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").digest()
    digest = _identity(file.name, content)
    ascii_name = unicodedata.normalize("NFKD", file.stem).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")[:48].strip("-")
    return f"{slug or 'batch'}-{digest}"


def _identity(name: str, content: bytes) -> str:
    return hashlib.sha256(os.fsencode(name) + b"\0" + content).hexdigest()[:10]


def _read_parquet(source: Path) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_parquet(source)
