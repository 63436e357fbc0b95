"""Say what importing the heavy packages costs a fresh process that has Dagster's code location already. Never guesses.

Run by heal_cycle.py, with the job as its argument: both runs of a healing pay for their imports, in their steps.
"""

import importlib
import sys
import time
import warnings
from collections.abc import Iterable

from fresh_process import say

INGEST = (
    "pandas",
    "pyarrow.parquet",
    "duckdb",
    "mlflow",
    "great_expectations.expectations",
    "feast",
    "feast.infra.offline_stores.duckdb",
    "feast.infra.online_stores.sqlite",
    "xgboost",
    "scipy.stats",
    "alibi_detect.cd.tabular",
)
RETRAIN = (
    "pandas",
    "pyarrow.parquet",
    "duckdb",
    "feast",
    "feast.infra.offline_stores.duckdb",
    "feast.infra.online_stores.sqlite",
    "mlflow.xgboost",
    "xgboost",
    "optuna",
    "scipy.stats",
)
PLOTS = ("matplotlib.figure",)
"""The loop draws, in both runs; the bare script does not."""
HEAL = tuple(dict.fromkeys([*INGEST, *RETRAIN]))


def import_all(names: Iterable[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            importlib.import_module(name)


if __name__ == "__main__":
    import selfheal_assets.definitions  # noqa: F401 - what the start of a run imports

    begun = time.perf_counter()
    import_all({"ingest": INGEST, "retrain": RETRAIN}[sys.argv[1]] + PLOTS)
    say(job=sys.argv[1], seconds=time.perf_counter() - begun)
