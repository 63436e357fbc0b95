"""Keep every message on disk: lines appended and flushed, complete lines out. Never changes a line."""

import logging
import os
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from selfheal_assets.core.notification import Message

log = logging.getLogger("selfheal.notifications")

LINES_AT_ONCE = 1_000
MESSAGE = TypeAdapter(Message)


def append_line(path: Path, line: str) -> None:
    """One line at the end of the file, on the disk on return; safe from several processes at once.

    A line that a kill left unfinished is closed first, so that only that one is lost. Raises OSError.
    """
    new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
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
