"""Compare the missing values of two samples: four counts to a p-value. Never looks at the values that are there."""

import numpy as np

from selfheal_assets.core.errors import SelfhealError

SMALLEST_EXPECTED_COUNT = 5.0
"""Cochran's rule: below this expected count the chi-squared approximation is not trusted."""


def missingness_p_value(reference_missing: int, reference_rows: int, batch_missing: int, batch_rows: int) -> float:
    """Two-sided p-value of equal shares of missing values: Pearson's chi-squared, Fisher's exact test when small.

    1.0 when nothing, or everything, is missing on both sides; nan when either side has no rows.
    At a hundred thousand rows a difference of no consequence is significant: read it beside the difference itself.
    Raises SelfhealError when a count is negative or more rows are missing than there are.
    """
    for side, missing, rows in (("reference", reference_missing, reference_rows), ("batch", batch_missing, batch_rows)):
        if not 0 <= missing <= rows:
            raise SelfhealError(
                f"missing values of the {side} must be between 0 and its rows; received {missing} of {rows} rows. "
                "Count both on the same frame."
            )
    if not reference_rows or not batch_rows:
        return float("nan")
    missing, present = (
        reference_missing + batch_missing,
        reference_rows + batch_rows - reference_missing - batch_missing,
    )
    if not missing or not present:
        return 1.0
    from scipy.stats import chi2_contingency, fisher_exact

    table = np.array(
        [[reference_missing, reference_rows - reference_missing], [batch_missing, batch_rows - batch_missing]],
        dtype=np.int64,
    )
    smallest = min(missing, present) * min(reference_rows, batch_rows) / (reference_rows + batch_rows)
    if smallest < SMALLEST_EXPECTED_COUNT:
        return float(fisher_exact(table).pvalue)
    return float(chi2_contingency(table, correction=False).pvalue)
