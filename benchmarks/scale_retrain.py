"""Tune and fit once on drawn rows by one engine, and say what it took. Never judges the model.

Run by scale.py: `scale_retrain.py <rows> <workers> <trials>`. No workers: the engine `local`. Otherwise a Dask cluster
of so many processes on this machine, one thread each, warmed before the clock starts.
"""

import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fresh_process import peak_mb, say, wait_for_turn
from ingest_model import CATEGORIES, NUMBERS, batch

from selfheal_assets.adapters.dask_cluster import DaskCluster
from selfheal_assets.adapters.dask_fit import DaskTrainer
from selfheal_assets.adapters.optuna_search import OptunaTuner
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec, TrainingSpec
from selfheal_assets.ports import LabelledRows

if TYPE_CHECKING:
    from distributed import LocalCluster

BATCHES = 4
WARM_ROWS = 4_000


def drawn(rows: int) -> LabelledRows:
    """Four batches of 16 features, as the ingest benchmark draws them."""
    import numpy as np
    import pandas as pd

    frame = pd.concat([batch(index, rows // BATCHES) for index in range(BATCHES)], ignore_index=True)
    return LabelledRows(
        features=frame[[*NUMBERS, *CATEGORIES]],
        label=frame["label"].to_numpy(dtype=float),
        event_id=frame["event_id"].to_numpy(),
        batch_id=np.repeat([f"b{index}" for index in range(BATCHES)], rows // BATCHES),
        event_time=frame["event_timestamp"].dt.tz_localize(None).to_numpy("datetime64[us]"),
    )


def declared(engine: Any, trials: int) -> ModelSpec:
    training = TrainingSpec(
        engine=engine, trials=trials, timeout_seconds=36_000.0, windows=(2, 4), distributed_rows=WARM_ROWS, seed=7
    )
    return ModelSpec(
        name="bench",
        description="The scale benchmark's model",
        owners=("team:benchmarks",),
        data=DataSpec(event_id="event_id", event_timestamp="event_timestamp", label="label", entities=("account_id",)),
        features=FeaturesSpec(service="bench", categorical=CATEGORIES),
        training=training,
    )


def retrain(spec: ModelSpec, rows: LabelledRows, cluster: DaskCluster, home: Path) -> dict[str, Any]:
    begun = time.perf_counter()
    tuned = OptunaTuner(home, cluster=cluster).tune(spec, f"s{len(rows.label)}", rows, None)
    tuned_at = time.perf_counter()
    DaskTrainer(cluster).train(spec, rows, replace(tuned, window=BATCHES))
    return {
        "tuning": tuned_at - begun,
        "fit": time.perf_counter() - tuned_at,
        "trials": len(tuned.trials),
        "pruned": sum(trial["state"] == "PRUNED" for trial in tuned.trials),
        "score": tuned.score,
    }


def main(size: int, workers: int, trials: int) -> None:
    spec = declared("dask" if workers else "local", trials)
    wait_for_turn()
    with tempfile.TemporaryDirectory(prefix="selfheal-scale-") as home, _started(workers) as local:
        cluster = DaskCluster(local.scheduler_address if local else None)
        retrain(spec, drawn(WARM_ROWS), cluster, Path(home, "warm"))
        rows = drawn(size)
        resident = peak_mb()
        found = retrain(spec, rows, cluster, Path(home, "home"))
        say(**found, peak_mb=peak_mb(), drawn_mb=resident, workers_mb=_workers_mb(local) if local else [])


def _started(workers: int) -> "LocalCluster | nullcontext[None]":
    if not workers:
        return nullcontext()
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers, threads_per_worker=1, memory_limit=0, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )


def _workers_mb(local: "LocalCluster") -> list[float]:
    """The peak of each worker process."""
    from distributed import Client

    def high_water() -> float:
        from pathlib import Path

        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6

    with Client(local.scheduler_address) as client:
        return sorted(client.run(high_water).values())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
