"""Declare the demonstrated model again, with a server and a rollout of minutes: a home in, its overlay out. No state.

The plan has the shape of the default one. What is shorter: the steps, so that they fit into a demonstration. What is
wider: the limits of time, because server, Dagster and load share one small machine.
"""

import os
import socket
from pathlib import Path
from typing import Any

import yaml

from selfheal_assets.core.errors import ServingError
from selfheal_assets.project import MODELS, PROJECT, overlays_from_environment
from selfheal_assets.server_files import Server, running, servers_folder

MODEL = "payments"
ROLLOUT: dict[str, Any] = {
    "over": "requests",
    "shadow_requests": 600,
    "steps": [0.25, 1.0],
    "step_requests": 250,
    "step_minutes": 0.1,
    "bake_minutes": 0.2,
    "error_margin": 0.02,
    "slow_margin": 0.05,
    "business_margin": 0.05,
}
SERVING: dict[str, Any] = {
    "feature_deadline_ms": 400,
    "max_latency_ms": 1_500,
    "window_seconds": 15,
    "breaker_seconds": 5,
    # All that one process answers lands as one batch, when the process ends.
    "log_rows": 1_000_000,
    "log_minutes": 600,
    # Live payments follow the scripted world, and it moves: the minutes before a promotion are no measure.
    "max_business_drop": 0.5,
}


def declare_served(home: Path) -> Path:
    """Write the overlay below the home, and have this process and all that it starts use it."""
    declared = yaml.safe_load((PROJECT / MODELS / MODEL / "defs.yaml").read_text(encoding="utf-8"))
    attributes = declared["attributes"]
    attributes["rollout"] = {**attributes.get("rollout", {}), **ROLLOUT}
    attributes["serving"] = {**attributes.get("serving", {}), **SERVING, "port": _free_port()}
    overlay = home / "overlay"
    file = overlay / "models" / MODEL / "defs.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(declared, sort_keys=False), encoding="utf-8")
    os.environ["SELFHEAL_OVERLAYS"] = os.pathsep.join(map(str, [*overlays_from_environment(), overlay]))
    return overlay


def server_of(home: Path) -> Server | None:
    """The server that runs now."""
    found = running(servers_folder(home, MODEL))
    return found[-1] if found else None


def is_ready(url: str) -> bool:
    """Whether it says that it is."""
    import httpx

    try:
        return httpx.get(f"{url}/ready", timeout=5.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _free_port() -> int:
    """The same before and after a restart, so that clients need not look for it."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 0))
        except OSError as error:
            raise ServingError(
                f"The demonstration's server needs a free port on 127.0.0.1; received {error}. Free one."
            ) from error
        return int(probe.getsockname()[1])
