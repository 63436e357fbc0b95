"""Correct p-values for how many were looked at: p-values in, adjusted ones out. Never counts a test not run."""

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.statistics.metrics import FloatArray, as_floats


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Adjusted p-values (n,), in the order given: those at most alpha have a false discovery rate of at most alpha.

    The i-th smallest of m becomes min over j >= i of p_j m / j (Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57:289),
    valid for independent or positively dependent tests. A nan is a test that was not run: it stays nan and m does not
    count it. Example: [0.01, nan, 0.04, 0.03] becomes [0.03, nan, 0.04, 0.04].
    Raises SelfhealError for a value outside [0, 1].
    """
    given = as_floats("p_values", p_values)
    run = ~np.isnan(given)
    wrong = given[run & ~((given >= 0.0) & (given <= 1.0))]
    if len(wrong):
        raise SelfhealError(
            f"p-values must lie between 0 and 1; received {wrong[:5].tolist()}. Pass p-values, not statistics."
        )
    from scipy.stats import false_discovery_control

    adjusted = np.full(len(given), np.nan)
    adjusted[run] = false_discovery_control(given[run], method="bh")
    return adjusted
