"""Keep the files of served versions on this machine: a folder in, a whole copy of it out. Never opens a model."""

import json
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from selfheal_assets.core.errors import ServingError
from selfheal_assets.durable import flush
from selfheal_assets.ports import ModelVersion

if TYPE_CHECKING:
    import filelock

ORIGIN = "version.json"
"""Written into each copy: of which version and run it is."""
KEPT = 5
"""Copies that stay: those used last. A server needs three at most."""
LOCK_TIMEOUT_SECONDS = 10
DRAFT_SECONDS = 3_600.0
"""After this a copy that is not complete was left by a killed process."""


@dataclass(frozen=True, kw_only=True)
class CachedVersion:
    """A whole copy of a version's files."""

    folder: Path
    version: str
    run_id: str
    copy_id: str
    """Tells this copy from one that another process puts in its place."""


class ModelCache:
    """Folders by version, put in place whole. Worker processes of one machine may share it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def find(self, version: str, run_id: str | None = None) -> CachedVersion | None:
        """The copy of that version; with `run_id` only when it is of that run: a registry that was made anew counts
        from 1 again."""
        folder = self._place(version)
        try:
            origin = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
            parts = {part: str(origin[part]) for part in ("version", "run_id", "copy_id")}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        found = CachedVersion(folder=folder, **parts)
        return found if found.version == version and run_id in (None, found.run_id) else None

    def put(self, version: ModelVersion, files: Path) -> CachedVersion:
        """Copy a version's files, unless the same copy is put in place by another process meanwhile.

        Raises ServingError when that cannot be done.
        """
        self._place(version.version)
        origin = {"version": version.version, "run_id": version.run_id, "copy_id": uuid4().hex}
        try:
            with self._draft() as draft:
                shutil.copytree(files, draft)
                (draft / ORIGIN).write_text(json.dumps(origin), encoding="utf-8")
                for file in [*draft.iterdir(), draft]:
                    flush(file)
                return self._place_whole(draft, version)
        except (OSError, shutil.Error) as error:
            raise ServingError(
                f"a served version must be copied to this machine; received version {version.version} from {files} "
                f"({type(error).__name__}: {error}). See that there is room in {self._root}."
            ) from error

    def drop(self, cached: CachedVersion) -> None:
        """Remove a copy that is of no use. Gone already, or replaced by another one, is fine."""
        # One that stays for a while is refused again by whoever opens it.
        with suppress(OSError), self._lock():
            if self.find(cached.version) == cached:
                self._discard(cached.folder)

    def prune(self, needed: Collection[str]) -> None:
        """Remove what was not used for longest, but never the `needed`; and what killed processes left."""
        if not self._root.is_dir():
            return
        for version in needed:
            if (folder := self._place(version)).is_dir():
                os.utime(folder)
        copies, drafts = list[tuple[float, Path]](), list[Path]()
        for path in self._root.iterdir():
            try:
                used = path.stat().st_mtime
            except FileNotFoundError:  # another worker process removed it
                continue
            if not path.name.startswith("."):
                copies.append((used, path))
            elif path.is_dir() and time.time() - used > DRAFT_SECONDS:
                drafts.append(path)
        surplus = [path for _, path in sorted(copies, reverse=True)[KEPT:] if path.name not in needed]
        for path in surplus:
            self._discard(path)
        for path in drafts:
            shutil.rmtree(path, ignore_errors=True)

    def _place(self, version: str) -> Path:
        if not re.fullmatch(r"\w[\w.-]*", version):
            raise ServingError(f"a version must be a plain number or name; received {version!r}. Correct the record.")
        return self._root / version

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        self._root.mkdir(parents=True, exist_ok=True)
        draft = self._root / f".{uuid4().hex}.draft"
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _place_whole(self, draft: Path, version: ModelVersion) -> CachedVersion:
        with self._lock():
            # Another process may be about to open it.
            standing = self.find(version.version, version.run_id)
            if standing is None:
                self._discard(self._place(version.version))
                os.rename(draft, self._place(version.version))
                flush(self._root)
                standing = self.find(version.version, version.run_id)
        if standing is None:
            raise OSError(f"the copy in {self._root} was changed at once")
        return standing

    def _lock(self) -> "filelock.BaseFileLock":
        from filelock import FileLock

        return FileLock(self._root / ".lock", timeout=LOCK_TIMEOUT_SECONDS)

    def _discard(self, folder: Path) -> None:
        """Out of sight in one step, so that nobody finds half a copy."""
        trash = folder.with_name(f".{uuid4().hex}.trash")
        try:
            os.rename(folder, trash)
        except FileNotFoundError:
            return
        shutil.rmtree(trash, ignore_errors=True)
