"""Keep the newest messages on disk: lines appended and flushed, complete lines out. Never changes a line."""

import fcntl
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from selfheal_assets.core.notification import Message

log = logging.getLogger("selfheal.notifications")

LINES_AT_ONCE = 1_000
MESSAGE = TypeAdapter(Message)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """How much of a file of lines is kept."""

    most_bytes: int = 10_000_000
    """From this size on a file is put aside, and another one begun."""
    files: int = 5
    """So many that were put aside are kept, `.1` the newest."""


def append_line(path: Path, line: str) -> None:
    """One line at the end of the file, on the disk on return; safe from several processes at once.

    A line that a kill left unfinished is closed first, so that only that one is lost. Raises OSError.
    """
    new = not path.exists()
    descriptor = _opened(path)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        data = ("\n" * torn + line + "\n").encode("utf-8")
        # One call: the system does not mix two appending writes of a local file.
        if os.write(descriptor, data) != len(data):
            raise OSError(f"only a part of the line was written to {path}")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if new:
        _flush_folder(path.parent)


def _opened(path: Path) -> int:
    """The file that stands there, held so that it is not put aside before it is closed."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
        os.close(descriptor)  # It was put aside between the two.


def large(path: Path, kept: Kept) -> bool:
    return path.exists() and path.stat().st_size >= kept.most_bytes


def put_aside(path: Path, kept: Kept, read_until: int | None = None) -> bool:
    """Whether the file was large enough and is `.1` from here on; the oldest beyond those that are kept is removed.

    With `read_until` only when nothing stands behind that offset. One process at a time; others may append. Killed
    anywhere, no line is lost but those of the file that was to be removed. Raises OSError.
    """
    if not large(path, kept):
        return False
    with path.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        if read_until is not None and os.fstat(stream.fileno()).st_size != read_until:
            return False
        for number in range(kept.files, 0, -1):
            before = path if number == 1 else _aside(path, number - 1)
            if before.exists():
                before.replace(_aside(path, number))
        _flush_folder(path.parent)
    return True


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _flush_folder(folder: Path) -> None:
    """The name of a new file is durable only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_messages(path: Path, offset: int) -> tuple[list[Message], int]:
    """At most LINES_AT_ONCE messages from a byte offset on, and the offset after them.

    A line that is still being written is left for later, one that is no message is passed over. A file shorter than
    the offset was replaced: it is read from its beginning.
    """
    if not path.exists():
        return [], 0
    messages: list[Message] = []
    unreadable = 0
    with path.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size < offset:
            offset = 0
        stream.seek(offset)
        for _ in range(LINES_AT_ONCE):
            line = stream.readline()
            if not line.endswith(b"\n"):
                break
            offset += len(line)
            try:
                messages += [MESSAGE.validate_json(line)] if line.strip() else []
            except ValidationError:
                unreadable += 1
    if unreadable:
        log.warning("%d lines of %s are no messages that can be sent on; they stay where they are", unreadable, path)
    return messages, offset


def unread(path: Path, offset: int) -> bool:
    """Whether the file holds anything that was not read yet."""
    return path.exists() and path.stat().st_size != offset
