"""Put a rehearsal's services together: real detectors, checks and trainer over stores in memory. Needs no home."""

import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from selfheal_assets.adapters.batch_store import FileBatchStore
from selfheal_assets.adapters.home_files import HomeFiles
from selfheal_assets.adapters.in_memory import InMemoryLedger, InMemoryNotifier, InMemoryRegistry, NoServers
from selfheal_assets.adapters.places import Places
from selfheal_assets.adapters.xgboost_trainer import XGBoostTrainer, load_model
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.quality import Check
from selfheal_assets.core.sequential_harm import LossChange
from selfheal_assets.ports import (
    BatchStore,
    DriftDetector,
    FeatureStore,
    LabelledRows,
    LabelStore,
    QualityChecks,
    TunedParameters,
    Tuner,
)
from selfheal_assets.project import check_folders, roots_from_environment
from selfheal_assets.rehearsal.frames import FrameStore, LateLabels
from selfheal_assets.settings import settings_from_environment

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

PARAMETERS: Mapping[str, float | int] = {
    "learning_rate": 0.1,
    "max_depth": 4,
    "min_child_weight": 4.0,
    "subsample": 0.9,
    "colsample_bytree": 0.9,
    "reg_lambda": 1.0,
    "reg_alpha": 0.01,
    "gamma": 0.01,
}
"""XGBoost's, for every retraining of a rehearsal that does not tune."""


class SimulatedClock:
    """Implements `ports.Clock`: moved by the rehearsal, never by itself."""

    def __init__(self) -> None:
        self._now = datetime(1970, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def set(self, now: datetime) -> None:
        """Never backwards: a batch may arrive while a heal is still under way."""
        self._now = max(self._now, now)

    def advance(self, by: timedelta) -> None:
        self._now += by


class InProcessTrainer(XGBoostTrainer):
    """The real trainer; saved models are loaded again in this process: a rehearsal would start hundreds of others."""

    def reload_scores(self, folder: Path, features: "pd.DataFrame") -> "np.ndarray":
        return load_model(folder).score(features)


class FixedParameters:
    """Implements `ports.Tuner`: one set of parameters, judged on each window by the real tuner's objective."""

    def tune(
        self,
        spec: ModelSpec,
        study: str,  # noqa: ARG002 - the port's signature
        rows: LabelledRows,
        warm_start: Mapping[str, Any] | None,  # noqa: ARG002
    ) -> TunedParameters:
        from optuna.trial import FixedTrial

        from selfheal_assets.adapters.tuning_objective import Objective

        objective = Objective(spec, rows)
        if len(objective.windows) == 1:
            return TunedParameters(parameters=PARAMETERS, window=objective.windows[0], score=float("nan"))
        sign = -1.0 if spec.performance.metric == "log_loss" else 1.0
        scores = {w: objective(cast("Any", FixedTrial({**PARAMETERS, "window": w}))) for w in objective.windows}
        best = max(scores, key=lambda window: sign * scores[window])
        return TunedParameters(parameters=PARAMETERS, window=best, score=scores[best])


class RehearsalServices:
    """Implements `ports.Services` for one history, in memory but for a folder of saved models that `close` removes."""

    def __init__(self, features: FeatureStore, *, tune: bool = False, checked: bool = True) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="selfheal-rehearsal-")
        self._checked = checked
        self.clock = SimulatedClock()
        self.ledger = InMemoryLedger()
        self.notifier = InMemoryNotifier()
        self.late = LateLabels()
        # The parts of these ports that are about files are never asked for: nothing lands in a rehearsal.
        self.batches = cast("BatchStore", FrameStore())
        self.labels = cast("LabelStore", self.late)
        self.features = features
        self.trainer = InProcessTrainer()
        self.registry = InMemoryRegistry(Path(self._folder.name, "models"))
        self.serving = NoServers()
        self._tune = tune

    def close(self) -> None:
        self._folder.cleanup()

    @cached_property
    def tuner(self) -> Tuner:
        if self._tune:
            from selfheal_assets.adapters.optuna_search import OptunaTuner

            return OptunaTuner(Path(self._folder.name))
        return FixedParameters()

    @cached_property
    def checks(self) -> QualityChecks:
        from selfheal_assets.adapters.gx_checks import GreatExpectationsChecks

        return GreatExpectationsChecks(None)

    def detector(self, spec: ModelSpec) -> DriftDetector:
        if spec.drift.detector == "alibi":
            from selfheal_assets.adapters.alibi_drift import AlibiDriftDetector

            return AlibiDriftDetector()
        from selfheal_assets.adapters.scipy_drift import ScipyDriftDetector

        return ScipyDriftDetector()

    def declared_checks(self, spec: ModelSpec) -> list[Check]:
        """Of rows that were checked when they were recorded, those on their labels alone: these came later."""
        from selfheal_assets.adapters.dbt_checks import load_checks

        declared = load_checks(check_folders(roots_from_environment()), spec)
        return [check for check in declared if self._checked or check.waits_for_labels(spec.data.label)]

    def declared_types(self, spec: ModelSpec) -> dict[str, str]:
        return declared_types(spec)

    def change_detector(self, losses: "npt.ArrayLike", delta: float) -> LossChange | None:
        from selfheal_assets.adapters.adwin import detect_rise

        return detect_rise(losses, delta)


def declared_types(spec: ModelSpec) -> dict[str, str]:
    """The types of the columns as the checks file declares them."""
    from selfheal_assets.adapters.column_types import load_types

    return load_types(check_folders(roots_from_environment()), spec)


def read_landed(file: Path, types: Mapping[str, str]) -> "tuple[str, pd.DataFrame]":
    """The batch id of a file, and its rows as a typed table; UnreadableFileError when it is none."""
    store = FileBatchStore(file.parent)
    return store.batch_id(file), store.read_file(file, types)


def no_mlflow(_experiment: str) -> nullcontext[None]:
    """In place of the MLflow run that a candidate is logged in."""
    return nullcontext()


def feature_files(home: Path, model: str) -> list[Path]:
    """The published features of a home's batches, one file each, named by the batch id; none where it is no home."""
    return FileBatchStore(home, _files(home)).files(model, "features")


def _files(home: Path) -> HomeFiles:
    """Where the batches of a home stand: of this environment's own home, where its settings say."""
    settings = settings_from_environment()
    return Places(settings).files() if home.absolute() == settings.home else HomeFiles()


def current_labels(home: Path, spec: ModelSpec, batch_id: str, rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of a home's batch with the labels that came later laid over those it brought."""
    from selfheal_assets.adapters.label_store import FileLabelStore

    came = FileLabelStore(home).current(spec.name, batch_id, rows[spec.data.event_id])
    return rows if came is None else rows.assign(**{spec.data.label: came.fillna(rows[spec.data.label])})
