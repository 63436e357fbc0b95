"""Put a file in place whole or not at all: write beside it, flush to the disk, rename. Never leaves half a file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def _flush(path: Path) -> None:
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
        _flush(draft)
        os.replace(draft, target)
        _flush(target.parent)
    finally:
        draft.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Rename within one file system, durable on return."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
    _flush(target.parent)
    _flush(source.parent)
