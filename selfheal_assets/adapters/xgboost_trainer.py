"""Train and score gradient-boosted trees: labelled rows in, a saved and reloadable model out. Never uses pickle."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfheal_assets.adapters.feature_schema import FeatureSchema
from selfheal_assets.adapters.xgboost_boosting import boost
from selfheal_assets.core.errors import SpecError, TrainingError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import LabelledRows, Model, Table, TunedParameters

if TYPE_CHECKING:
    import pandas as pd
    import xgboost

BOOSTER_FILE = "model.ubj"
SCHEMA_FILE = "feature_schema.json"
STOPPING_SHARE = 0.2
"""Share of the training window, the most recent rows, that decides when to stop boosting."""
RELOAD_TIMEOUT_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class XGBoostModel:
    """A native Booster with the schema that it was trained on. Implements `ports.Model`."""

    booster: "xgboost.Booster"
    schema: FeatureSchema
    parameters: Mapping[str, Any]
    """The tuned parameters, and the window trained on."""
    best_iteration: int

    def __post_init__(self) -> None:
        self.booster.set_param({"nthread": 1})

    def score(self, features: "pd.DataFrame") -> np.ndarray:
        """(n,) probabilities of the label 1. Columns are taken by name; raises TrainingError when one is absent."""
        return self._scores(self.schema.encode(features))

    def score_columns(self, columns: Table) -> np.ndarray:
        """As `score`, from plain columns; safe to call from many threads."""
        return self._scores(self.schema.encode_columns(columns))

    def _scores(self, encoded: np.ndarray) -> np.ndarray:
        scores = self.booster.inplace_predict(encoded, iteration_range=(0, self.best_iteration + 1))
        return np.asarray(scores, dtype=float)

    def importance(self) -> dict[str, float]:
        """Share of the total gain by feature, 0 for one that no tree splits on; empty for a model without splits."""
        gain: dict[str, Any] = self.booster.get_score(importance_type="total_gain")
        total = sum(gain.values())
        return {name: gain.get(name, 0.0) / total for name in self.schema.names} if total > 0 else {}

    def save(self, folder: Path) -> None:
        """Write `model.ubj` (UBJSON) and `feature_schema.json` into `folder`, made when it is absent."""
        folder.mkdir(parents=True, exist_ok=True)
        sidecar = {
            "names": self.schema.names,
            "categories": self.schema.categories,
            "parameters": dict(self.parameters),
            "best_iteration": self.best_iteration,
        }
        (folder / SCHEMA_FILE).write_text(json.dumps(sidecar, indent=1, default=float), encoding="utf-8")
        self.booster.save_model(folder / BOOSTER_FILE)


def load_model(folder: Path) -> XGBoostModel:
    """Read what `XGBoostModel.save` wrote; TrainingError when the files are not a whole model."""
    import xgboost

    try:
        sidecar = json.loads((folder / SCHEMA_FILE).read_text(encoding="utf-8"))
        booster = xgboost.Booster(model_file=folder / BOOSTER_FILE)
        schema = FeatureSchema(
            names=tuple(sidecar["names"]),
            categories={name: tuple(levels) for name, levels in sidecar["categories"].items()},
        )
        parameters, best_iteration = sidecar["parameters"], int(sidecar["best_iteration"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, xgboost.core.XGBoostError) as error:
        raise TrainingError(
            f"a saved model must be a folder with {BOOSTER_FILE} and {SCHEMA_FILE}; received {folder} "
            f"({type(error).__name__}: {error}). Register the model again."
        ) from error
    if booster.feature_names != list(schema.names) or booster.num_boosted_rounds() <= best_iteration:
        raise TrainingError(
            f"{SCHEMA_FILE} must describe the {BOOSTER_FILE} beside it; received the files of two models in {folder}. "
            "Register the model again."
        )
    return XGBoostModel(booster=booster, schema=schema, parameters=parameters, best_iteration=best_iteration)


def newest_rows(rows: LabelledRows, window: int) -> np.ndarray:
    """Positions of the rows of the `window` most recent batches, oldest row first.

    A batch's place in time is its median event, so that one late row does not reorder the batches.
    """
    import pandas as pd

    # As whole microseconds: a median over datetimes is refused when the column is of objects.
    times = pd.Series(pd.DatetimeIndex(pd.to_datetime(rows.event_time, utc=True)).as_unit("us").asi8)
    medians = times.groupby(np.asarray(rows.batch_id, dtype=str)).median()
    chosen = medians.sort_index().sort_values(kind="stable").index[-window:]
    inside = np.flatnonzero(np.isin(np.asarray(rows.batch_id, dtype=str), chosen))
    return inside[np.argsort(times.to_numpy()[inside], kind="stable")]


def require_both_labels(label: np.ndarray, part: str) -> None:
    """Raise TrainingError unless `label` holds zeros and ones, both of them and nothing else."""
    import pandas as pd

    found = pd.unique(pd.Series(label))
    if len(found) != 2 or not set(found.tolist()) <= {0, 1}:
        raise TrainingError(
            f"the label must be 0 or 1, both present in the {part}; received {sorted(map(str, found))} in {len(label)} "
            "rows. Leave out rows without a label, or give more batches (training.windows)."
        )


class XGBoostTrainer:
    """Fits on a tuned window and proves that the result reloads. Implements `ports.Trainer`."""

    def train(self, spec: ModelSpec, rows: LabelledRows, tuned: TunedParameters) -> XGBoostModel:
        """The same rows, parameters and seed give the same bytes. Class weights are left alone: scores stay
        probabilities. Raises TrainingError for too few rows, or labels that cannot be learned from.
        """
        import xgboost

        window = newest_rows(rows, tuned.window)
        if len(window) < spec.training.min_rows:
            raise TrainingError(
                f"training needs at least {spec.training.min_rows} labelled rows beside the holdout; "
                f"received {len(window)} in a window of {tuned.window} batches. "
                "Wait for more data, or lower training.min_rows."
            )
        cut = len(window) - ceil(STOPPING_SHARE * len(window))
        fitting, stopping = window[:cut], window[cut:]
        label = np.asarray(rows.label)
        require_both_labels(label[fitting], "training rows")
        require_both_labels(label[stopping], "early-stopping rows")
        schema = FeatureSchema.learn(rows.features.iloc[fitting], spec.features.categorical)
        try:
            booster = self._boosted(spec, tuned.parameters, schema, rows, (fitting, stopping))
        except SpecError:
            raise
        except (xgboost.core.XGBoostError, ValueError) as error:
            raise TrainingError(
                f"XGBoost must accept the parameters; received {dict(tuned.parameters)} ({error}). Tune again."
            ) from error
        parameters = {**tuned.parameters, "window": tuned.window}
        return XGBoostModel(
            booster=booster, schema=schema, parameters=parameters, best_iteration=booster.best_iteration
        )

    def _boosted(
        self,
        spec: ModelSpec,
        parameters: Mapping[str, Any],
        schema: FeatureSchema,
        rows: LabelledRows,
        parts: tuple[np.ndarray, np.ndarray],
    ) -> "xgboost.Booster":
        """On the rows at the positions `parts`: (fitting, stopping)."""
        label = np.asarray(rows.label)
        train, stop = (schema.matrix(rows.features.iloc[part], label[part]) for part in parts)
        return boost(spec, parameters, train, stop)

    def recalibrate(self, model: Model, logit: float) -> XGBoostModel:
        from selfheal_assets.adapters.recalibration import with_moved_logit

        assert isinstance(model, XGBoostModel)
        return with_moved_logit(model, logit)

    def reload_scores(self, folder: Path, features: "pd.DataFrame") -> np.ndarray:
        """(n,) scores from a new Python process that knows only the files in `folder`."""
        with tempfile.TemporaryDirectory(prefix="selfheal-reload-") as scratch:
            rows, out = Path(scratch, "rows.parquet"), Path(scratch, "scores.npy")
            features.reset_index(drop=True).to_parquet(rows)
            _probe(folder, rows, out)
            return np.asarray(np.load(out, allow_pickle=False), dtype=float)


def _probe(folder: Path, rows: Path, out: Path) -> None:
    package_root = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "selfheal_assets.adapters.reload_probe", str(folder), str(rows), str(out)]
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=RELOAD_TIMEOUT_SECONDS,
            env={**os.environ, "PYTHONPATH": search_path},
        )
    except (subprocess.SubprocessError, OSError) as error:
        last_line = ((getattr(error, "stderr", None) or "").strip() or str(error)).splitlines()[-1]
        code = getattr(error, "returncode", 0)
        ended = f", terminated by signal {-code}," if code < 0 else ""
        raise TrainingError(
            f"a saved model must load and score in a fresh process within {RELOAD_TIMEOUT_SECONDS} s; "
            f"received {last_line!r}{ended} for {folder}. Do not promote it; train again."
        ) from error
