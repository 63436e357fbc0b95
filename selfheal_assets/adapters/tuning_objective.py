"""Judge one choice of parameters and window: an Optuna trial in, its validation score out. Never keeps a study."""

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from selfheal_assets.adapters.feature_schema import FeatureSchema
from selfheal_assets.adapters.xgboost_boosting import XGBOOST_METRICS, boost
from selfheal_assets.adapters.xgboost_trainer import newest_rows, require_both_labels
from selfheal_assets.core.errors import TrainingError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import LabelledRows

if TYPE_CHECKING:
    import optuna
    import xgboost

VALIDATION_SHARE = 0.25
"""Share of the smallest window's rows, the most recent, that judges every trial."""
REPORT_EVERY_ROUNDS = 5

SEARCH_SPACE: Mapping[str, tuple[float, float, Literal["linear", "log", "whole"]]] = {
    "learning_rate": (0.02, 0.3, "log"),
    "max_depth": (2, 8, "whole"),
    "min_child_weight": (0.5, 32.0, "log"),
    "subsample": (0.5, 1.0, "linear"),
    "colsample_bytree": (0.5, 1.0, "linear"),
    "reg_lambda": (0.01, 20.0, "log"),
    "reg_alpha": (1e-4, 2.0, "log"),
    "gamma": (1e-4, 2.0, "log"),
}
"""Lowest, highest and scale of each parameter, by XGBoost's own names; meant for 10^3 to 10^6 rows."""


class Objective:
    """One trial: train on the rows of its window that precede the validation rows, score on those."""

    def __init__(self, spec: ModelSpec, rows: LabelledRows) -> None:
        self.spec, self.rows = spec, rows
        self.threads = 0
        """That a trial may use; 0: every core."""
        self.windows = _offered_windows(spec, rows)
        smallest = newest_rows(rows, self.windows[0])
        cut = len(smallest) - math.ceil(VALIDATION_SHARE * len(smallest))
        self.validation = smallest[cut:]
        require_both_labels(np.asarray(rows.label)[self.validation], "validation rows of the tuning")
        self._data: dict[int, tuple[xgboost.DMatrix, xgboost.DMatrix]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the matrices, which are XGBoost's own memory: another process makes them again."""
        return {**vars(self), "_data": {}}

    def __call__(self, trial: "optuna.Trial") -> float:
        import optuna

        began = time.monotonic()
        try:
            parameters = {name: _suggested(trial, name) for name in SEARCH_SPACE}
            train, validation = self._matrices(trial.suggest_categorical("window", self.windows))
            pruning = [_pruning_callback(trial, self.spec)]
            booster = boost(self.spec, parameters, train, validation, pruning, self.threads)
            trial.set_user_attr("rounds", booster.best_iteration + 1)
            return float(booster.best_score)
        except optuna.TrialPruned:
            raise
        except Exception as error:
            trial.set_user_attr("reason", f"{type(error).__name__}: {error}")
            raise
        finally:
            trial.set_user_attr("seconds", round(time.monotonic() - began, 3))

    def distributions(self) -> "dict[str, optuna.distributions.BaseDistribution]":
        """All that a trial draws, for who draws it before it is evaluated."""
        from optuna.distributions import CategoricalDistribution

        return {**{name: _distribution(name) for name in SEARCH_SPACE}, "window": CategoricalDistribution(self.windows)}

    def training(self, window: int) -> np.ndarray:
        """Positions of the window's rows that are no later than the first validation row, and not among them."""
        inside = newest_rows(self.rows, window)
        times = np.asarray(self.rows.event_time)
        before = inside[times[inside] <= times[self.validation[0]]]
        training = np.setdiff1d(before, self.validation)
        shared = set(self.rows.event_id[training].tolist()) & set(self.rows.event_id[self.validation].tolist())
        if shared:
            raise TrainingError(
                f"an event must be in one batch only; received {len(shared)} event ids, such as {sorted(shared)[0]!r}, "
                "in both training and validation rows. Quarantine the batch that repeats them."
            )
        return training

    def _matrices(self, window: int) -> tuple["xgboost.DMatrix", "xgboost.DMatrix"]:
        if window not in self._data:
            training, features, label = self.training(window), self.rows.features, np.asarray(self.rows.label)
            require_both_labels(label[training], f"training rows of a window of {window} batches")
            schema = FeatureSchema.learn(features.iloc[training], self.spec.features.categorical)
            train = schema.matrix(features.iloc[training], label[training])
            self._data[window] = (train, schema.matrix(features.iloc[self.validation], label[self.validation]))
        return self._data[window]

    def fingerprint(self) -> str:
        """Changes with the rows or the declaration: trials judged on other rows are not comparable."""
        digest = hashlib.sha256("\n".join([self.spec.fingerprint(), *map(str, self.rows.event_id)]).encode())
        digest.update(np.asarray(self.rows.label, dtype=float).tobytes())
        return digest.hexdigest()[:16]


def _pruning_callback(trial: "optuna.Trial", spec: ModelSpec) -> "xgboost.callback.TrainingCallback":
    """Reports the validation metric every few rounds and stops a trial that the pruner finds hopeless."""
    import optuna
    import xgboost

    metric = XGBOOST_METRICS[spec.performance.metric]

    class Pruning(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
            if (epoch + 1) % REPORT_EVERY_ROUNDS == 0:
                trial.report(float(evals_log["stopping"][metric][-1]), step=epoch + 1)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return False

    return Pruning()


def _offered_windows(spec: ModelSpec, rows: LabelledRows) -> tuple[int, ...]:
    """Declared windows that the rows can fill, smallest first; all batches when they fill none."""
    batches = len(np.unique(np.asarray(rows.batch_id, dtype=str)))
    needed = spec.training.min_rows
    if len(rows.label) < needed:
        raise TrainingError(
            f"tuning needs at least {needed} labelled rows beside the holdout; received "
            f"{len(rows.label)} in {batches} batches. Wait for more data or lower training.min_rows."
        )
    filled = [w for w in sorted(spec.training.windows) if w <= batches and len(newest_rows(rows, w)) >= needed]
    return tuple(filled) or (batches,)


def _suggested(trial: "optuna.Trial", name: str) -> float | int:
    low, high, scale = SEARCH_SPACE[name]
    if scale == "whole":
        return trial.suggest_int(name, int(low), int(high))
    return trial.suggest_float(name, low, high, log=scale == "log")


def _distribution(name: str) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high, scale = SEARCH_SPACE[name]
    if scale == "whole":
        return IntDistribution(int(low), int(high))
    return FloatDistribution(low, high, log=scale == "log")


def clipped(champion: Mapping[str, Any], windows: Sequence[int]) -> dict[str, float | int]:
    """The champion's parameters inside today's ranges; Optuna would use others as they are."""
    clipped: dict[str, float | int] = {}
    for name, (low, high, scale) in SEARCH_SPACE.items():
        value = champion.get(name)
        if isinstance(value, int | float) and math.isfinite(value):
            inside = min(max(float(value), low), high)
            clipped[name] = round(inside) if scale == "whole" else inside
    if isinstance(window := champion.get("window"), int):
        clipped["window"] = min(windows, key=lambda offered: abs(offered - window))
    return clipped
