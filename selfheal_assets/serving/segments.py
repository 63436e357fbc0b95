"""Keep a process's log files apart from all others': its own to write, those of dead ones to adopt. Never lands any."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from selfheal_assets.durable import flush

NAME = re.compile(r"\d{8}t\d{6}-(?P<owner>\d+-[0-9a-f]{8})-\d+")
"""Of a segment: when it began (UTC), process and chance, and its number in the process."""
LINES, TABLE, LOCK = ".jsonl", ".parquet", ".lock"


class Segment:
    """One file of lines, open for appending."""

    def __init__(self, path: Path, began: datetime) -> None:
        self.path = path
        self.began = began
        self.rows = 0
        self._size = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        try:
            flush(path.parent)
        except OSError:
            self.close()
            path.unlink(missing_ok=True)
            raise

    def append(self, lines: Sequence[bytes]) -> None:
        """Durable on return. After an OSError nothing is certain but what stood before: `cut` restores that."""
        content = memoryview(b"".join(lines))
        written = 0
        while written < len(content):
            written += os.write(self._file, content[written:])
        os.fsync(self._file)
        self._size += written
        self.rows += len(lines)

    def cut(self) -> None:
        """Take away what a failed append left."""
        os.ftruncate(self._file, self._size)
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


class SegmentFolder:
    """The log folder of a model, as one process sees it. A lock file each process tells the living from the dead."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._owner = f"{os.getpid()}-{uuid4().hex[:8]}"
        self._lock = _lock_of(folder, self._owner)
        self._count = 0

    def start(self, began: datetime) -> Segment:
        """A new segment; raises OSError when the disk cannot take one."""
        if not self._lock.is_locked:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        self._count += 1
        return Segment(self.folder / f"{began:%Y%m%dt%H%M%S}-{self._owner}-{self._count}{LINES}", began)

    def leave(self) -> None:
        """Give up the claim to this process's segments: what is left of them is for the next process to adopt."""
        if self._lock.is_locked:
            self._release(self._lock, self._owner)

    @contextmanager
    def adopted(self) -> Iterator[list[str]]:
        """Names of the segments of dead processes, in order of time; no other process has them until the end."""
        held = list[str]()
        with ExitStack() as claims:
            for owner in sorted(self._owners() - {self._owner}):
                lock = _lock_of(self.folder, owner)
                with suppress(Timeout):
                    lock.acquire()
                    claims.callback(self._release, lock, owner)
                    held.append(owner)
            yield sorted(name for owner in held for name in self._names(owner))

    def _owners(self) -> set[str]:
        """Every process that has a segment, or a claim to one."""
        owners = {_owner_of(path) for path in self.folder.glob("*") if path.suffix in (LINES, TABLE, LOCK)}
        return {owner for owner in owners if owner}

    def _release(self, lock: FileLock, owner: str) -> None:
        """Its file goes first, while nobody else can hold it; one with segments left stays, to be found again."""
        if not self._names(owner):
            with suppress(OSError):
                Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()

    def _names(self, owner: str) -> set[str]:
        return {path.stem for suffix in (LINES, TABLE) for path in self.folder.glob(f"*-{owner}-*{suffix}")}


def _owner_of(path: Path) -> str | None:
    if path.suffix == LOCK:
        return path.stem
    found = NAME.fullmatch(path.stem)
    return found["owner"] if found else None


def _lock_of(folder: Path, owner: str) -> FileLock:
    return FileLock(folder / f"{owner}{LOCK}", timeout=0, thread_local=False)
