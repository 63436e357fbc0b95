"""From the environment to adapters. The only module that names an adapter class; builds each when first asked."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
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
from selfheal_assets.adapters.places import Places
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
    roots_from_environment,
)
from selfheal_assets.settings import Settings, embedded, settings_from_environment

if TYPE_CHECKING:
    import numpy.typing as npt

    from selfheal_assets.adapters.cluster_api import ClusterApi
    from selfheal_assets.adapters.cluster_releases import ClusterReleases
    from selfheal_assets.adapters.feast_features import FeastFeatures
    from selfheal_assets.adapters.mlflow_registry import MlflowRegistry
    from selfheal_assets.adapters.service_list import Service

QUIET = {
    "DO_NOT_TRACK": "1",
    "FEAST_USAGE": "False",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class Services:
    """What stages, sensors and the command line work with; a Dagster resource."""

    def __init__(
        self,
        home: Path,
        roots: Sequence[Path] = (PROJECT,),
        clock: Clock | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Embedded, unless `settings` name services."""
        self.home = home
        self.roots = tuple(roots)
        self.clock: Clock = clock or SystemClock()
        self.settings = settings or embedded(home)
        self.places = Places(self.settings)
        self.files = self.places.files()
        self.batches = FileBatchStore(home, self.files)
        self.labels = FileLabelStore(home, self.files)
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        os.environ.update(self.places.environment())

    @classmethod
    def from_environment(cls) -> "Services":
        settings = settings_from_environment()
        return cls(settings.home, roots_from_environment(), settings=settings)

    @cached_property
    def ledger(self) -> SqlLedger:
        return SqlLedger(self.places.ledger_url)

    @cached_property
    def notifier(self) -> Notifier:
        return OutboxNotifier(
            self.home,
            self.clock,
            ReceiverList(os.environ),
            dagster_url=self.settings.dagster_url,
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

        return FeastFeatures(
            self.home,
            self.roots,
            lambda model: self.batches.files(model, "clean"),
            self.places.feast,
            files=self.files,
            alone=self.places.alone,
        )

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

        return OptunaTuner(self.home, cluster=self.cluster, database=self.places.tuning_url, alone=self.places.alone)

    @cached_property
    def trainer(self) -> Trainer:
        from selfheal_assets.adapters.dask_fit import DaskTrainer

        return DaskTrainer(self.cluster)

    def change_detector(self, losses: "npt.ArrayLike", delta: float) -> LossChange | None:
        from selfheal_assets.adapters.adwin import detect_rise

        return detect_rise(losses, delta)

    @cached_property
    def serving(self) -> Serving:
        if self.settings.serving == "local":
            return LocalServers(self.home, self.clock)
        from selfheal_assets.adapters.kubernetes import KubernetesServers

        return KubernetesServers(_cluster(), self.clock)

    @cached_property
    def releases(self) -> "ClusterReleases":
        """What an operator changes of the servers in a cluster. Raises SpecError where there is none."""
        from selfheal_assets.adapters.cluster_releases import ClusterReleases

        if self.settings.serving == "local":
            raise SpecError("This needs SELFHEAL_SERVING=kubernetes; received local. Run it in a pod of selfheal.")
        return ClusterReleases(_cluster())

    @property
    def tracking_uri(self) -> str:
        return self.places.tracking_uri

    @cached_property
    def registry(self) -> "MlflowRegistry":
        from selfheal_assets.adapters.mlflow_registry import MlflowRegistry

        return MlflowRegistry(self.tracking_uri, self.places.artifacts, self.places.alone)

    def online_store_away(self, seconds: float) -> AbstractContextManager[float]:
        """Chaos: for so long no server has live features. Enters with when it went, in seconds since 1970.

        Redis makes all its clients wait: only for one that nobody else depends on.
        """
        from selfheal_assets.adapters.online_store_away import files_away, redis_away

        url = self.places.feast.online_url
        return files_away(self.home) if url is None else redis_away(url, seconds)

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


def service_list(settings: Settings) -> Iterator["Service"]:
    """Every service as the settings have it, for `selfheal doctor`."""
    from selfheal_assets.adapters.service_list import services

    places = Places(settings)
    os.environ.update({**QUIET, **places.environment()})
    return services(settings, places)


def _cluster() -> "ClusterApi":
    from selfheal_assets.adapters.cluster_api import connected

    return connected(os.environ.get("SELFHEAL_NAMESPACE") or "selfheal")


def executor() -> dg.ExecutorDefinition:
    """How the steps of a run are executed: SELFHEAL_EXECUTOR = in_process (default) or k8s_job.

    In one process by default: another process a step would pay for every heavy import again.
    """
    if settings_from_environment().executor == "k8s_job":
        from dagster_k8s import k8s_job_executor

        return k8s_job_executor
    return dg.in_process_executor
