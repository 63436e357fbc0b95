"""Take batches through the real ingest run in this process, and say what each stage took. Never changes a stage.

Run by ingest.py: `ingest_stages.py <home> <bootstrap | measure> <file> ...`. `bootstrap` makes the home and, from its
files, the first champion. `measure` takes in a file a turn; the first of them is for the imports and the caches.
"""

import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fresh_process import peak_mb, say, wait_for_turn
from ingest_model import MODEL

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.operations.home import initialise
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.operations.models import model_named
from selfheal_assets.wiring import Services

STAGES = ("raw_batch", "checked_batch", "features", "predictions", "observed_batch")


class Clocked:
    """A port some of whose calls are timed; all else passes through."""

    def __init__(self, port: Any, calls: Mapping[str, str], seconds: dict[str, float]) -> None:
        """`calls`: under which name the seconds of a method are added up."""
        self._port, self._calls, self._seconds = port, calls, seconds

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name not in self._calls:
            return method

        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            answer = method(*args, **kwargs)
            key = self._calls[name]
            self._seconds[key] = self._seconds.get(key, 0.0) + time.perf_counter() - begun
            return answer

        return timed


def _clock(services: Services) -> dict[str, float]:
    """Seconds inside the adapters that stand for the bare calls, added up from here on."""
    seconds: dict[str, float] = {}
    detector = services.detector
    replaced = {
        "checks": Clocked(services.checks, {"evaluate": "gx"}, seconds),
        "features": Clocked(services.features, {"historical": "feast"}, seconds),
        "detector": lambda spec: Clocked(detector(spec), {"compare": "drift_sample"}, seconds),
    }
    for name, port in replaced.items():
        setattr(services, name, port)
    return seconds


def main(home: Path, what: str, files: list[Path]) -> None:
    import dagster as dg

    services = initialise(home)
    spec = model_named(services, MODEL)
    with dg.DagsterInstance.get() as instance:
        loop = InProcessLoop(services, spec, instance)
        if what == "bootstrap":
            _bootstrap(loop, services, files)
            return
        inside = _clock(services)
        for file in files:
            wait_for_turn()
            inside.clear()
            say(**_ingest(loop, services, spec, file), inside=inside, peak_mb=peak_mb())


def land(services: Services, file: Path) -> None:
    """By rename, and leaving the file for the bare calls."""
    folder = services.batches.landing(MODEL)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, folder / f".{file.name}")
    (folder / f".{file.name}").rename(folder / file.name)


def _bootstrap(loop: InProcessLoop, services: Services, files: list[Path]) -> None:
    for file in files:
        land(services, file)
    loop.settle()
    if services.registry.by_alias(MODEL, "champion") is None:
        raise RuntimeError(f"the benchmark needs a champion; the sensors said {loop.ticks[-3:]}")
    say(ready=True)


def _ingest(loop: InProcessLoop, services: Services, spec: ModelSpec, file: Path) -> dict[str, Any]:
    """Land one batch and let the arrivals sensor take it in; what is kept of the batch is removed again afterwards."""
    land(services, file)
    begun = time.perf_counter()
    [run_id] = loop.tick("arrivals")
    seconds = time.perf_counter() - begun
    steps = {
        step.step_key.split("__", 1)[-1]: step.end_time - step.start_time
        for step in loop.instance.get_run_step_stats(run_id)
        if step.start_time is not None and step.end_time is not None
    }
    rows = forget(services, spec)
    return {"seconds": seconds, "rows": rows, "stages": {name: steps[name] for name in STAGES}}


def forget(services: Services, spec: ModelSpec) -> int:
    """See that the batch went the whole way; take it off the history, so that every repeat finds the same one."""
    settled = services.ledger.newest(spec.name, RecordKind.BATCH_SETTLED)[0]
    counts = settled.payload
    evidence = services.ledger.newest(spec.name, RecordKind.EVIDENCE, subject=settled.subject, limit=2)
    if settled.status not in ("CLEAN", "PARTIAL") or len(evidence) != 2:
        raise RuntimeError(
            f"a measured batch must go the whole way; received {settled.status}: {counts['reasons']}, "
            f"and {len(evidence)} of 2 statements of evidence"
        )
    for stage in ("raw", "clean", "features", "scores"):
        services.batches.remove(spec.name, stage, settled.subject)
    (services.home / "features" / spec.name / f"{settled.subject}.parquet").unlink()
    return int(counts["rows_landed"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [Path(name) for name in sys.argv[3:]])
