"""From the environment to adapters. The only module that names an adapter class; builds each when first asked."""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from selfheal_assets.adapters.batch_store import FileBatchStore
from selfheal_assets.adapters.clocks import SystemClock
from selfheal_assets.adapters.column_types import load_types
from selfheal_assets.adapters.dask_cluster import SCHEDULER_VARIABLE, DaskCluster
from selfheal_assets.adapters.dbt_checks import load_checks
from selfheal_assets.adapters.label_store import FileLabelStore
from selfheal_assets.adapters.local_servers import LocalServers
from selfheal_assets.adapters.mlflow_link import mlflow_run
from selfheal_assets.adapters.notification_settings import kept_from, limits_from
from selfheal_assets.adapters.notifications import OutboxNotifier
from selfheal_assets.adapters.receivers import ReceiverList
from selfheal_assets.adapters.sql_ledger import SqlLedger
from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.quality import Check
from selfheal_assets.core.sequential_harm import LossChange
from selfheal_assets.ports import (
    Clock,
    DriftDetector,
    Notifier,
    QualityChecks,
    Serving,
    Trainer,
    Tuner,
)
from selfheal_assets.project import (
    PROJECT,
    check_folders,
    home_from_environment,
    roots_from_environment,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from selfheal_assets.adapters.feast_features import FeastFeatures
    from selfheal_assets.adapters.mlflow_registry import MlflowRegistry

QUIET = {
    "DO_NOT_TRACK": "1",
    "FEAST_USAGE": "False",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class Services:
    """What stages, sensors and the command line work with; a Dagster resource."""

    def __init__(self, home: Path, roots: Sequence[Path] = (PROJECT,), clock: Clock | None = None) -> None:
        self.home = home
        self.roots = tuple(roots)
        self.clock: Clock = clock or SystemClock()
        self.batches = FileBatchStore(home)
        self.labels = FileLabelStore(home)
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)

    @classmethod
    def from_environment(cls) -> "Services":
        return cls(home_from_environment(), roots_from_environment())

    @cached_property
    def ledger(self) -> SqlLedger:
        return SqlLedger(f"sqlite:///{self.home / 'ledger.db'}")

    @cached_property
    def notifier(self) -> Notifier:
        dagster_url = os.environ.get("SELFHEAL_DAGSTER_URL") or None
        return OutboxNotifier(
            self.home,
            self.clock,
            ReceiverList(os.environ),
            dagster_url=dagster_url,
            limits=limits_from(os.environ),
            kept=kept_from(os.environ),
        )

    def declared_checks(self, spec: ModelSpec) -> list[Check]:
        return load_checks(check_folders(self.roots), spec)

    def declared_types(self, spec: ModelSpec) -> dict[str, str]:
        return load_types(check_folders(self.roots), spec)

    @cached_property
    def checks(self) -> QualityChecks:
        from selfheal_assets.adapters.gx_checks import GreatExpectationsChecks

        return GreatExpectationsChecks(self.home)

    @cached_property
    def features(self) -> "FeastFeatures":
        from selfheal_assets.adapters.feast_features import FeastFeatures

        return FeastFeatures(self.home, self.roots, lambda model: self.batches.files(model, "clean"))

    def detector(self, spec: ModelSpec) -> DriftDetector:
        if spec.drift.detector == "alibi":
            from selfheal_assets.adapters.alibi_drift import AlibiDriftDetector

            return AlibiDriftDetector()
        from selfheal_assets.adapters.scipy_drift import ScipyDriftDetector

        return ScipyDriftDetector()

    @cached_property
    def cluster(self) -> DaskCluster:
        return DaskCluster(os.environ.get(SCHEDULER_VARIABLE))

    @cached_property
    def tuner(self) -> Tuner:
        from selfheal_assets.adapters.optuna_search import OptunaTuner

        return OptunaTuner(self.home, cluster=self.cluster)

    @cached_property
    def trainer(self) -> Trainer:
        from selfheal_assets.adapters.dask_fit import DaskTrainer

        return DaskTrainer(self.cluster)

    def change_detector(self, losses: "npt.ArrayLike", delta: float) -> LossChange | None:
        from selfheal_assets.adapters.adwin import detect_rise

        return detect_rise(losses, delta)

    @cached_property
    def serving(self) -> Serving:
        return LocalServers(self.home, self.clock)

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    @cached_property
    def registry(self) -> "MlflowRegistry":
        from selfheal_assets.adapters.mlflow_registry import MlflowRegistry

        return MlflowRegistry(self.tracking_uri, self.home / "mlflow" / "artifacts")

    def initialise(self, models: Sequence[str], progress: Callable[[str], None]) -> None:
        """Create and migrate every store of the home; once, before anything runs in parallel."""
        progress("ledger")
        self.ledger.initialise()
        progress("MLflow registry")
        self.registry.initialise(models)
        progress("Feast registry")
        self.features.apply()


def resources(services: Services) -> dict[str, Any]:
    """The Dagster resources of the code location."""
    return {"selfheal": services, "mlflow_run": mlflow_run(services.tracking_uri)}


def executor() -> dg.ExecutorDefinition:
    """How the steps of a run are executed: SELFHEAL_EXECUTOR = in_process (default) or k8s_job.

    In one process by default: another process a step would pay for every heavy import again.
    """
    name = os.environ.get("SELFHEAL_EXECUTOR", "in_process")
    if name == "k8s_job":
        from dagster_k8s import k8s_job_executor

        return k8s_job_executor
    if name != "in_process":
        raise SpecError(
            f"SELFHEAL_EXECUTOR must be 'in_process' or 'k8s_job'; received {name!r}. Correct the variable."
        )
    return dg.in_process_executor
