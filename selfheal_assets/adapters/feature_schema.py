"""Turn feature columns into the numbers that XGBoost sees: table in, float32 matrix out. Never looks at a label."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from selfheal_assets.core.errors import TrainingError
from selfheal_assets.ports import Table

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
        with np.errstate(over="ignore"):
            for column, name in enumerate(self.names):
                convert = self._codes if name in self.categories else _numbers
                encoded[:, column] = convert(features[name])
        encoded[~np.isfinite(encoded)] = np.nan
        return encoded

    def encode_columns(self, columns: Table) -> np.ndarray:
        """What `encode` gives for a frame of these columns, without the 1 ms that making a frame takes.

        Raises TrainingError naming a feature that is absent, of another length than the first, or not of numbers.
        """
        absent = [name for name in self.names if name not in columns]
        lengths = {name: len(columns[name]) for name in self.names if name in columns}
        if absent or len(set(lengths.values())) > 1:
            raise TrainingError(
                f"every feature must be given, with one value a row; received columns {list(columns)}, in which "
                f"{absent or 'not all are of one length: ' + str(lengths)}. Give all of {list(self.names)}."
            )
        encoded = np.empty((lengths[self.names[0]], len(self.names)), dtype=np.float32)
        with np.errstate(over="ignore"):
            for column, name in self._coded:
                encoded[:, column] = _plain_codes(self._places[name], columns[name])
            encoded[:, self._numeric] = _plain_table({name: columns[name] for name in self._numbers})
        encoded[~np.isfinite(encoded)] = np.nan
        return encoded

    @cached_property
    def _numbers(self) -> list[str]:
        return [name for name in self.names if name not in self.categories]

    @cached_property
    def _numeric(self) -> list[int]:
        """Places of the features that are numbers."""
        return [place for place, name in enumerate(self.names) if name not in self.categories]

    @cached_property
    def _coded(self) -> list[tuple[int, str]]:
        """Place and name of the features that are categories."""
        return [(place, name) for place, name in enumerate(self.names) if name in self.categories]

    @cached_property
    def _places(self) -> dict[str, dict[str, int]]:
        """Of each categorical feature, the code of each level."""
        return {name: {level: code for code, level in enumerate(found)} for name, found in self.categories.items()}

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
        return np.asarray(values.to_numpy(dtype=float, na_value=np.nan))
    except OverflowError:
        return _each_number(str(values.name), values.tolist())
    except (TypeError, ValueError) as error:
        raise _not_numbers(values.name, values.dtype, error) from error


def _plain_table(columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """(n, columns) numbers. All at once: of one row, a column at a time takes longer than scoring it."""
    with suppress(TypeError, ValueError, OverflowError):
        table = np.array(list(columns.values()), dtype=float)
        if table.ndim == 2:
            return table.T
    return np.array([_plain_numbers(name, values) for name, values in columns.items()]).T


def _plain_numbers(name: str, values: Sequence[Any]) -> np.ndarray:
    try:
        numbers = np.array(values, dtype=float)
    except (TypeError, ValueError, OverflowError):
        return _each_number(name, values)
    return numbers if numbers.ndim == 1 else _each_number(name, values)


def _each_number(name: str, values: Sequence[Any]) -> np.ndarray:
    return np.array([_number(name, value) for value in values], dtype=float)


def _number(name: str, value: Any) -> float:
    try:
        return np.nan if _missing(value) else float(value)
    except OverflowError:
        # A whole number beyond every float, which is infinite to one.
        return np.nan
    except (TypeError, ValueError) as error:
        raise _not_numbers(name, type(value).__name__, error) from error


def _plain_codes(levels: Mapping[str, int], values: Sequence[Any]) -> list[float]:
    return [levels.get(text, np.nan) if (text := _text(value)) is not None else np.nan for value in values]


def _text(value: Any) -> str | None:
    """As pandas writes a value in a column of texts; None for a missing one."""
    if isinstance(value, str):
        return value
    return None if _missing(value) else str(value)


def _missing(value: Any) -> bool:
    """None, and what is not equal to itself: NaN, NaT, and pandas' NA, which refuses to say."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):
        return True


def _not_numbers(name: Any, kind: Any, error: Exception) -> TrainingError:
    return TrainingError(
        f"feature {name!r} must hold numbers; received {kind} ({error}). "
        "Declare it in features.categorical, or convert it in the feature's definition."
    )
