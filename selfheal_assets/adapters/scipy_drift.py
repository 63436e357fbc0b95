"""Two-sample tests by SciPy: Alibi Detect's statistics under a free licence. Never decides what is drift."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from selfheal_assets.adapters.drift_columns import code_columns
from selfheal_assets.ports import TwoSampleTest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class ScipyDriftDetector:
    """`DriftDetector` for `drift.detector: scipy`."""

    def compare(
        self, reference: "pd.DataFrame", batch: "pd.DataFrame", categorical: Sequence[str]
    ) -> dict[str, TwoSampleTest]:
        """Kolmogorov-Smirnov (asymptotic) for numbers, Pearson's chi-squared for categories.

        A column with a missing value, or without rows, is answered by NaN. Raises DetectorError on unequal columns.
        """
        columns = code_columns(reference, batch, categorical)
        answers: dict[str, TwoSampleTest] = {}
        for position, name in enumerate(columns.names):
            test = "chi_squared" if position in columns.categorical else "kolmogorov_smirnov"
            if position not in columns.answerable:
                answers[name] = TwoSampleTest(test=test, statistic=math.nan, p_value=math.nan)
                continue
            first, second = columns.reference[:, position], columns.batch[:, position]
            answer = _chi_squared if position in columns.categorical else _kolmogorov_smirnov
            statistic, p_value = answer(first, second)
            answers[name] = TwoSampleTest(test=test, statistic=statistic, p_value=p_value)
        return answers


def _kolmogorov_smirnov(reference: "np.ndarray", batch: "np.ndarray") -> tuple[float, float]:
    import numpy as np
    from scipy.stats import ks_2samp

    # One row against one row has an effective size of zero: SciPy divides by it, and answers NaN.
    with np.errstate(divide="ignore", invalid="ignore"):
        result = ks_2samp(reference, batch, method="asymp")
    return float(result.statistic), float(result.pvalue)


def _chi_squared(reference: "np.ndarray", batch: "np.ndarray") -> tuple[float, float]:
    """Pearson's test on the 2 x k table of counts (Yates-corrected when k is 2); one category only: p is 1."""
    import numpy as np
    from scipy.stats import chi2_contingency

    codes = int(max(reference.max(), batch.max())) + 1
    counts = np.stack([np.bincount(sample.astype(int), minlength=codes) for sample in (reference, batch)])
    result = chi2_contingency(counts[:, counts.sum(axis=0) > 0])
    return float(result.statistic), float(result.pvalue)
