"""Bound a mean while it is watched: values in [0, 1] to a bound after each. Never widens for having been looked at.

Predictable plug-in empirical Bernstein (Waudby-Smith & Ramdas 2023, J. R. Stat. Soc. B 86:1, Theorem 2), one-sided:
with m_t = (1/2 + sum of x_i to t) / (t + 1), s_t = (1/4 + sum of (x_i - m_i)^2 to t) / (t + 1) and the bets
b_t = min(1/2, sqrt(2 ln(1/alpha) / (s_{t-1} t ln(1 + t)))), the lower bound after t values is
(sum b_i x_i - ln(1/alpha) - sum (x_i - m_{i-1})^2 (-ln(1 - b_i) - b_i)) / sum b_i, cut to [0, 1].
With probability 1 - alpha it is at no t above the mean: it may be read after every value, and acted on.
Example: [1, 1, 1, 1] at alpha 0.5 has the lower bounds [0, 0.2465, 0.4941, 0.6191].
It misleads where the mean moves: it then bounds the mean weighted by the bets, in which early values weigh more than
late ones (at most the largest mean so far, so a bound above a limit still proves that the limit was passed). The order
must be that of arrival, chosen by nobody who had seen the values.
"""

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.statistics.metrics import FloatArray, as_floats

LARGEST_BET = 0.5


def lower_sequence(values: npt.ArrayLike, alpha: float, horizon: int | None = None) -> FloatArray:
    """Lower bounds (n,) of the mean of `values` (n,) after each, none above it with probability 1 - `alpha`.

    `horizon` (number of values) makes the bound tightest there: b_t has `horizon` in place of t ln(1 + t). It must be
    set without regard to the values; the bounds hold at every t all the same.
    Raises SelfhealError for values outside [0, 1] or missing, an alpha outside (0, 1), a horizon below 1.
    """
    x = unit_values("values", values)
    check_alpha(alpha)
    if horizon is not None and horizon < 1:
        raise SelfhealError(f"horizon must be at least 1; received {horizon}. Give the number of values expected.")
    t = np.arange(1.0, len(x) + 1.0)
    mean = (0.5 + np.cumsum(x)) / (t + 1.0)
    mean_before = np.append(0.5, mean)[:-1]
    variance_before = np.append(0.25, (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1.0))[:-1]
    evidence_needed = -np.log(alpha)
    pace = t * np.log1p(t) if horizon is None else float(horizon)
    bet = np.minimum(np.sqrt(2.0 * evidence_needed / (variance_before * pace)), LARGEST_BET)
    spread = np.cumsum((x - mean_before) ** 2 * (-np.log1p(-bet) - bet))
    bound = (np.cumsum(bet * x) - evidence_needed - spread) / np.cumsum(bet)
    return np.asarray(np.clip(bound, 0.0, 1.0))


def upper_sequence(values: npt.ArrayLike, alpha: float, horizon: int | None = None) -> FloatArray:
    """Upper bounds (n,), none below the mean with probability 1 - `alpha`: see `lower_sequence`."""
    return 1.0 - lower_sequence(1.0 - unit_values("values", values), alpha, horizon)


def fixed_sample_upper_bound(values: npt.ArrayLike, alpha: float, *, seed: int = 0) -> float:
    """Upper bound of the mean of a finished sample (n,), above it with probability 1 - `alpha`; 1.0 without values.

    The sequence with its horizon at n, at its best t, on the values in a seeded order: a sample that comes sorted is
    no sequence of independent values. Tighter than Maurer & Pontil's and Hoeffding-Bentkus bounds from a few hundred
    values on. Raises SelfhealError: see `lower_sequence`.
    """
    shuffled = np.random.default_rng(seed).permutation(unit_values("values", values))
    return float(upper_sequence(shuffled, alpha, max(1, len(shuffled))).min(initial=1.0))


def unit_values(name: str, values: npt.ArrayLike) -> FloatArray:
    """A (n,) float array. Raises SelfhealError when a value is missing or outside [0, 1]."""
    array = as_floats(name, values)
    wrong = array[~((array >= 0.0) & (array <= 1.0))]
    if len(wrong):
        raise SelfhealError(
            f"{name} must lie between 0 and 1; received {wrong[:5].tolist()}. Leave out or correct these rows."
        )
    return array


def check_alpha(alpha: float) -> None:
    """Raise SelfhealError unless the probability of an error lies within (0, 1)."""
    if not 0.0 < alpha < 1.0:
        raise SelfhealError(f"alpha must lie between 0 and 1; received {alpha}. Use for example 0.05.")
