"""Put a file in place whole or not at all: write beside it, flush to the disk, rename. Never leaves half a file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def flush(path: Path) -> None:
    """What was written to the file, or was renamed within the folder, is on the disk on return."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """Yields a hidden path to write to; on success it becomes `target`, on any error it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{uuid4().hex}.draft")
    try:
        yield draft
        flush(draft)
        os.replace(draft, target)
        flush(target.parent)
    finally:
        draft.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Rename within one file system, durable on return."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
    flush(target.parent)
    flush(source.parent)


def put(content: bytes, target: Path) -> None:
    """Durable on return. A process killed in between leaves one hidden draft, which the next try overwrites."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.draft")
    draft.write_bytes(content)
    flush(draft)
    move(draft, target)


def remove(path: Path) -> None:
    """Gone for good on return; already gone is fine."""
    path.unlink(missing_ok=True)
    flush(path.parent)
