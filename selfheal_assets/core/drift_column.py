"""Measure one feature in reference and batch: values in, shares, PSI and unseen categories out. Never judges them."""

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.statistics.effect_size import (
    psi_of_categories,
    psi_of_numbers,
)
from selfheal_assets.core.statistics.two_sample import missingness_p_value


@dataclass(frozen=True, kw_only=True)
class ComparedColumn:
    """One feature's values on both sides, and what is missing there."""

    feature: str
    categorical: bool
    reference: npt.NDArray[Any]
    """(n,) float64 with NaN or infinity for missing; (n,) object of str with None for missing when categorical."""
    batch: npt.NDArray[Any]
    """(m,) likewise."""
    importance: float | None = None
    """Share of the champion's gain; None (or NaN) when unknown."""

    @cached_property
    def complete_reference(self) -> npt.NDArray[Any]:
        """The values that are there."""
        return self.reference[_present(self.reference)]

    @cached_property
    def complete_batch(self) -> npt.NDArray[Any]:
        return self.batch[_present(self.batch)]

    @property
    def missing_reference(self) -> float:
        """Share of missing values, 0 to 1; NaN without rows."""
        return _missing_share(self.reference, self.complete_reference)

    @property
    def missing_batch(self) -> float:
        return _missing_share(self.batch, self.complete_batch)

    @cached_property
    def missing_p(self) -> float:
        """p-value of equal missing shares; NaN without rows."""
        counts = [(len(a) - len(b), len(a)) for a, b in self._sides]
        return missingness_p_value(*counts[0], *counts[1])

    @cached_property
    def psi(self) -> float:
        """Population stability index of the complete values; NaN when a side has none."""
        psi = psi_of_categories if self.categorical else psi_of_numbers
        return psi(self.complete_reference, self.complete_batch)

    @cached_property
    def unseen(self) -> tuple[tuple[str, int], ...]:
        """(category, rows) of the batch that the reference does not have, the most frequent first."""
        if not self.categorical:
            return ()
        counts = Counter(map(str, self.complete_batch))
        known = set(map(str, self.complete_reference))
        return tuple(sorted(((k, n) for k, n in counts.items() if k not in known), key=lambda kn: (-kn[1], kn[0])))

    def enough(self, min_rows: int) -> bool:
        """Whether both sides have that many complete values."""
        return min(len(self.complete_reference), len(self.complete_batch)) >= min_rows

    @property
    def _sides(self) -> tuple[tuple[npt.NDArray[Any], npt.NDArray[Any]], ...]:
        return (self.reference, self.complete_reference), (self.batch, self.complete_batch)


def _present(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if values.dtype == object:
        return np.array([value is not None and value == value for value in values], dtype=np.bool_)
    return np.asarray(np.isfinite(values), dtype=np.bool_)


def _missing_share(values: npt.NDArray[Any], complete: npt.NDArray[Any]) -> float:
    return (len(values) - len(complete)) / len(values) if len(values) else math.nan
