"""Chaos of the demonstration: the feature store taken away, the server killed. Never brings a server back."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selfheal_assets.core.errors import ServingError
from selfheal_assets.operations.demo_serving import MODEL, server_of

STORE = Path("feast") / "online.db"
"""Of the home; see feature_repo/feature_store.yaml."""
COMPANIONS = ("", "-wal", "-shm", "-journal")
AWAY = ".away"


@contextmanager
def feature_store_away(home: Path) -> Iterator[float]:
    """Yields when it went, in seconds since 1970. The files are moved aside, and back on exit, however that comes."""
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


def kill_server(home: Path) -> tuple[int, float]:
    """SIGKILL to the running server; its process, and when, in seconds since 1970.

    Raises ServingError when none runs.
    """
    server = server_of(home)
    if server is None:
        raise ServingError(f"A server must run to be killed; none of {MODEL} runs. See `{home / 'logs'}`.")
    at = time.time()
    os.kill(server.pid, signal.SIGKILL)
    return server.pid, at
