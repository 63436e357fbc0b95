"""Turn feature columns into the numbers that XGBoost sees: frame in, float32 matrix out. Never looks at a label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from selfheal_assets.core.errors import TrainingError

if TYPE_CHECKING:
    import pandas as pd
    import xgboost


@dataclass(frozen=True, kw_only=True)
class FeatureSchema:
    """Which columns, in which order, and how they become the numbers that XGBoost sees."""

    names: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    """Levels of each categorical feature, seen in training rows; a level's code is its place here."""

    @classmethod
    def learn(cls, features: "pd.DataFrame", categorical: Sequence[str]) -> "FeatureSchema":
        """The schema of training rows. Give it those alone: a level seen later must count as missing."""
        absent = sorted(set(categorical) - set(features.columns))
        if absent:
            raise TrainingError(
                f"features.categorical must be among the model's features; received {absent}, which are not. "
                "Correct the declaration or the feature service."
            )
        levels = {
            name: tuple(sorted(features[name].dropna().astype(str).unique()))
            for name in features.columns
            if name in categorical
        }
        return cls(names=tuple(features.columns), categories=levels)

    @property
    def types(self) -> list[str]:
        return ["c" if name in self.categories else "q" for name in self.names]

    def encode(self, features: "pd.DataFrame") -> np.ndarray:
        """(n, features) float32 in the schema's order. Missing, unseen, infinite or beyond float32: NaN."""
        absent = [name for name in self.names if name not in features.columns]
        if absent or not features.columns.is_unique:
            raise TrainingError(
                f"every feature must be given once, by name; received columns {list(features.columns)}, "
                f"in which {absent or 'some repeat'}. Give all of {list(self.names)}."
            )
        encoded = np.empty((len(features), len(self.names)), dtype=np.float32)
        for column, name in enumerate(self.names):
            encoded[:, column] = self._codes(features[name]) if name in self.categories else _numbers(features[name])
        encoded[~np.isfinite(encoded)] = np.nan
        return encoded

    def matrix(self, features: "pd.DataFrame", label: np.ndarray) -> "xgboost.DMatrix":
        import xgboost

        return xgboost.DMatrix(
            self.encode(features),
            label=label,
            feature_names=list(self.names),
            feature_types=self.types,
            enable_categorical=True,
            nthread=1,
        )

    def _codes(self, values: "pd.Series") -> np.ndarray:
        import pandas as pd

        levels = pd.Index(self.categories[str(values.name)], dtype="string")
        codes = levels.get_indexer(pd.Index(values.astype("string"))).astype(np.float32)
        # XGBoost scores an unknown code as if it were some known level: only NaN takes the branch of the missing.
        codes[codes < 0] = np.nan
        return codes


def _numbers(values: "pd.Series") -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            return values.to_numpy(dtype=float, na_value=np.nan).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise TrainingError(
            f"feature {values.name!r} must hold numbers; received {values.dtype} ({error}). "
            "Declare it in features.categorical, or convert it in the feature's definition."
        ) from error
