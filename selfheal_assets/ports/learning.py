"""How a model is tuned, trained and scored, and the values that cross. Never imports an adapter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports.serving import Table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """Rows to learn from, oldest first. All of length n."""

    features: "pd.DataFrame"
    """(n, features); categories as pandas strings, numbers as float."""
    label: "np.ndarray"
    """(n,) of 0 and 1."""
    event_id: "np.ndarray"
    batch_id: "np.ndarray"
    event_time: "np.ndarray"
    """(n,) datetime64[us], UTC."""


@dataclass(frozen=True, kw_only=True)
class TunedParameters:
    """The result of a study."""

    parameters: Mapping[str, float | int]
    """XGBoost's own names."""
    window: int
    """Number of most recent batches to train on."""
    score: float
    """The metric on the tuning validation rows."""
    trials: Sequence[Mapping[str, Any]] = ()
    """One row a trial: number, state, score, window, parameters, seconds."""
    history: Mapping[str, Any] = field(default_factory=dict)


class Tuner(Protocol):
    def tune(
        self, spec: ModelSpec, study: str, rows: LabelledRows, warm_start: Mapping[str, Any] | None
    ) -> TunedParameters:
        """Search parameters and window on `rows` (without the holdout). The same study name resumes."""
        ...


class Model(Protocol):
    """A fitted binary classifier."""

    @property
    def parameters(self) -> Mapping[str, Any]: ...

    def score(self, features: "pd.DataFrame") -> "np.ndarray":
        """(n,) probabilities of the label 1; unseen categories count as missing."""
        ...

    def score_columns(self, columns: Table) -> "np.ndarray":
        """As `score`, from plain columns: fast for few rows. Raises TrainingError for a column that it cannot use."""
        ...

    def importance(self) -> dict[str, float]:
        """Share of the total gain by feature; sums to 1 (empty for a model without splits)."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model as files that need no pickle."""
        ...


class Trainer(Protocol):
    def train(self, spec: ModelSpec, rows: LabelledRows, tuned: TunedParameters) -> Model:
        """Fit on the tuned window of `rows`, early-stopped on the most recent part of it."""
        ...

    def recalibrate(self, model: Model, logit: float) -> Model:
        """The same model with the logit of every score moved by `logit`."""
        ...

    def reload_scores(self, folder: Path, features: "pd.DataFrame") -> "np.ndarray":
        """Scores of a saved model, loaded by a fresh Python process."""
        ...
