"""Chaos of the demonstration: the server killed. Never brings one back."""

import os
import signal
import time
from pathlib import Path

from selfheal_assets.core.errors import ServingError
from selfheal_assets.operations.demo_serving import MODEL, server_of


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
