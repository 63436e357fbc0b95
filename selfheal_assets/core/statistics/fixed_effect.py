"""Pool estimates of one quantity: values and half-widths in, the weighted mean and its half-width out. Keeps no unit.

Inverse-variance weights (Hedges & Olkin 1985, Statistical Methods for Meta-Analysis, chapter 6): with half-widths h_i
of intervals of one confidence, w_i = 1 / h_i^2, the mean is sum(w_i v_i) / sum(w_i) and its half-width
1 / sqrt(sum(w_i)), of the same confidence. Example: 0.80 and 0.84, both +- 0.02, are 0.82 +- 0.0141 together.
It misleads where the estimates are of different quantities, or hang together: the interval is then too narrow.
"""

from collections.abc import Sequence

import numpy as np

from selfheal_assets.core.errors import SelfhealError


def pooled(values: Sequence[float], half_widths: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width over estimates (n,) with half-widths (n,), in their unit.

    Raises SelfhealError for none, for different lengths, and for a half-width that is not positive and finite.
    """
    v, h = np.asarray(values, dtype=float), np.asarray(half_widths, dtype=float)
    if not len(v) or len(v) != len(h) or not np.isfinite(v).all() or not (np.isfinite(h) & (h > 0.0)).all():
        raise SelfhealError(
            "Estimates to pool must be finite, with a positive half-width each; "
            f"received values {list(values)} and half-widths {list(half_widths)}. Leave out what is not measured."
        )
    weights = h**-2.0
    return float(weights @ v / weights.sum()), float(weights.sum() ** -0.5)
