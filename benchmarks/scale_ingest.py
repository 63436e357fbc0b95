"""Take a batch of many rows through the real ingest run, and say what memory each stage took. Never changes a stage.

Run by scale.py: `scale_ingest.py <home> <file> ...`. Takes in a file a turn; the first is for the imports and caches.
"""

import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

from fresh_process import peak_mb, say, wait_for_turn
from ingest_model import MODEL
from ingest_stages import STAGES, forget, land

from selfheal_assets.operations.home import initialise
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.operations.models import model_named

LOOK_SECONDS = 0.02


class Watch:
    """The resident memory of this process, looked at every few milliseconds."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def peak(self, begun: float, ended: float) -> float:
        """MB (10^6 bytes) between two times; 0 where nobody looked."""
        return max((mb for at, mb in self.seen if begun <= at <= ended), default=0.0)

    def _look(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            self.seen.append((time.time(), pages * 4096 / 1e6))


def main(home: Path, files: list[Path]) -> None:
    import dagster as dg

    services = initialise(home)
    spec = model_named(services, MODEL)
    with dg.DagsterInstance.get() as instance:
        loop = InProcessLoop(services, spec, instance)
        for file in files:
            wait_for_turn()
            land(services, file)
            begun = time.perf_counter()
            with Watch() as watch:
                [run_id] = loop.tick("arrivals")
            seconds = time.perf_counter() - begun
            rows = forget(services, spec)
            say(rows=rows, seconds=seconds, peak_mb=peak_mb(), stages=_stages(loop, run_id, watch))


def _stages(loop: InProcessLoop, run_id: str, watch: Watch) -> dict[str, Any]:
    steps = {step.step_key.split("__", 1)[-1]: step for step in loop.instance.get_run_step_stats(run_id)}
    return {name: watch.peak(steps[name].start_time or 0.0, steps[name].end_time or 0.0) for name in STAGES}


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
