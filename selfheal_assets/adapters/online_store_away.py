"""Take Feast's online store away for a while, for a rehearsal of its loss. Never loses a value."""

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from selfheal_assets.adapters.feast_stores import redis_words
from selfheal_assets.adapters.redis_client import redis_client

STORE = Path("feast") / "online.db"
"""Of the home; see feature_repo/feature_store.yaml."""
COMPANIONS = ("", "-wal", "-shm", "-journal")
AWAY = ".away"


@contextmanager
def files_away(home: Path) -> Iterator[float]:
    """SQLite's files are moved aside, and back on exit, however that comes. Yields when, in seconds since 1970."""
    files = [home / STORE.with_name(STORE.name + suffix) for suffix in COMPANIONS]
    moved = []
    try:
        for file in filter(Path.exists, files):
            os.replace(file, file.with_name(file.name + AWAY))
            moved.append(file)
        yield time.time()
    finally:
        for file in reversed(moved):
            os.replace(file.with_name(file.name + AWAY), file)


@contextmanager
def redis_away(url: str, seconds: float) -> Iterator[float]:
    """Redis leaves every client waiting for so long, by itself. Yields when that began, in seconds since 1970."""
    with closing(redis_client(redis_words(url))) as client:
        client.client_pause(round(1000 * seconds))
    yield time.time()
