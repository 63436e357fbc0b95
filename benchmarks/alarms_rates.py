"""Write shares and counts with their uncertainty: how often of how many in, a figure with its interval out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """A share or a mean, with its interval."""

    value: float
    low: float
    high: float

    def percent(self) -> str:
        return f"{_percent(self.value)} % [{_percent(self.low)}, {_percent(self.high)}]"

    def per(self, many: float) -> str:
        """So many in `many`."""
        return f"{many * self.value:.1f} [{many * self.low:.1f}, {many * self.high:.1f}]"


def share(hits: int, trials: int) -> Rate:
    """Of independent trials, by Clopper and Pearson (1934, Biometrika 26:404): never too narrow."""
    from scipy.stats import binomtest

    found = binomtest(hits, trials).proportion_ci(CONFIDENCE, method="exact")
    return Rate(hits / trials, float(found.low), float(found.high))


def count_rate(events: int, exposure: float) -> Rate:
    """Events in a unit of exposure, by the exact interval of a Poisson count (Garwood 1936, Biometrika 28:437)."""
    from scipy.stats import chi2

    tail = (1.0 - CONFIDENCE) / 2.0
    low = chi2.ppf(tail, 2 * events) / 2.0 if events else 0.0
    return Rate(events / exposure, float(low) / exposure, float(chi2.ppf(1.0 - tail, 2 * events + 2)) / 2.0 / exposure)


def clustered_share(shares: Sequence[float]) -> Rate:
    """The mean of the streams' own shares, by Student's t over the streams: batches of one stream are alike."""
    from scipy.stats import t

    values = np.asarray(shares, dtype=np.float64)
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    half = float(t.ppf(0.5 + CONFIDENCE / 2.0, len(values) - 1)) * error
    return Rate(mean, max(mean - half, 0.0), min(mean + half, 1.0))


def _percent(value: float) -> str:
    digits = 0 if value in (0.0, 1.0) else 2 if value < 0.1 else 1
    return f"{100.0 * value:.{digits}f}"
