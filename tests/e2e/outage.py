"""Play the demonstration in a process of its own, whose looks at the services may fail for a while."""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfheal_assets.operations.demo import Demonstration

PHASE_SECONDS, POLL_SECONDS = 900.0, 1.0


def main(result: str) -> None:
    """Says `PHASE n` on stdout when its batches are about to land; writes the result as JSON."""
    from selfheal_assets.operations import demo
    from selfheal_assets.operations.dagster_processes import running_dagster
    from selfheal_assets.operations.home import initialise

    services = initialise(Path(os.environ["SELFHEAL_HOME"]))
    demo.Demonstration._watch = _watched  # type: ignore[method-assign]
    with running_dagster(services.home, None, start_seconds=240):
        played = demo.start_demonstration(services, rows=2_000, seed=7, phase_seconds=PHASE_SECONDS)
        for line in played.play():
            print(line, flush=True)
        Path(result).write_text(json.dumps(played.result().as_json()), encoding="utf-8")


def _watched(self: "Demonstration", phase: Any) -> Iterator[str]:
    from selfheal_assets.core.errors import SelfhealError
    from selfheal_assets.operations.demo import PHASES

    yield f"PHASE {PHASES.index(phase)}"
    deadline = time.monotonic() + PHASE_SECONDS
    while time.monotonic() < deadline:
        try:
            if self._done(phase):
                return
        except SelfhealError as error:
            print(type(error).__name__, str(error)[:200], file=sys.stderr, flush=True)
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"{phase.title}: not done in {PHASE_SECONDS:.0f} s")
