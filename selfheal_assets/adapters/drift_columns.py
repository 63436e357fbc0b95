"""Turn a reference and a batch frame into two float matrices that a two-sample test accepts. Never runs a test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from selfheal_assets.core.errors import DetectorError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class CodedColumns:
    """Both samples as numbers, column by column in the order of the reference."""

    names: tuple[str, ...]
    reference: "np.ndarray"
    """(n, columns) float64."""
    batch: "np.ndarray"
    """(m, columns) float64."""
    categorical: frozenset[int]
    """Positions of the category columns."""
    answerable: tuple[int, ...]
    """Positions of the columns without a missing value and with rows on both sides; the rest have no answer."""


def code_columns(reference: "pd.DataFrame", batch: "pd.DataFrame", categorical: Sequence[str]) -> CodedColumns:
    """Numbers as they are; categories as 0, 1, … in the reference's order, and one code for all unseen ones.

    Raises DetectorError when the frames do not have the same columns, or a numeric column is not of numbers.
    """
    import numpy as np

    names = tuple(reference.columns)
    if len(set(names)) != len(names) or sorted(names) != sorted(batch.columns):
        raise DetectorError(
            "the reference and the batch must have the same columns, each once; "
            f"received {list(names)} and {list(batch.columns)}. Select the same features from both."
        )
    coded_reference = np.empty((len(reference), len(names)))
    coded_batch = np.empty((len(batch), len(names)))
    for position, name in enumerate(names):
        if name in categorical:
            coded = _code_categories(reference[name], batch[name])
            coded_reference[:, position], coded_batch[:, position] = coded
        else:
            coded_reference[:, position] = _as_numbers(reference[name])
            coded_batch[:, position] = _as_numbers(batch[name])
    complete = ~(np.isnan(coded_reference).any(axis=0) | np.isnan(coded_batch).any(axis=0))
    answerable = tuple(np.flatnonzero(complete).tolist()) if len(reference) and len(batch) else ()
    return CodedColumns(
        names=names,
        reference=coded_reference,
        batch=coded_batch,
        categorical=frozenset(position for position, name in enumerate(names) if name in categorical),
        answerable=answerable,
    )


def _code_categories(reference: "pd.Series", batch: "pd.Series") -> "tuple[np.ndarray, np.ndarray]":
    import numpy as np
    import pandas as pd

    codes, known = pd.factorize(reference.astype(object))
    batch_codes = pd.Index(known).get_indexer(pd.Index(batch.astype(object)))
    coded_batch = np.where(batch_codes < 0, len(known), batch_codes)
    return np.where(reference.isna(), np.nan, codes), np.where(batch.isna(), np.nan, coded_batch)


def _as_numbers(column: "pd.Series") -> "np.ndarray":
    import numpy as np

    try:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DetectorError(
            f"a numeric feature must hold numbers; received dtype {column.dtype} in {column.name!r} ({error}). "
            "Declare it under features.categorical, or convert it in the feature view."
        ) from error
