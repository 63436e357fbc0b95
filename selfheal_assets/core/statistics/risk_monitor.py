"""Test whether a served model's risk rose above its source's: losses in, an alarm out. Never repairs a rise.

Podkopaev & Ramdas 2022 (ICLR, arXiv:2110.06177): alarm at the first t at which
lower_t(target) > upper(source) + tolerance, where lower_t is a confidence sequence of the losses in the order in which
they came, and upper a fixed-sample bound of the holdout's; each has alpha / 2. While no row's risk passes source +
tolerance, the chance of an alarm at any time is at most alpha, however often it is looked at.
One sequence finds a late rise late, as the good time before it weighs on: so another begins every `restart_every`
losses, the j-th (from 0) with its share 1 / ((j + 1) (j + 2)) of alpha / 2, and lower_t is the highest of them (the
shares add up to 1: the union bound keeps alpha).
Example: 40 losses of 1 against 500 of 0, tolerance 0.05, alpha 0.05: the threshold is 0.0649, the alarm is at index 9.
It misleads where the source's losses chose the model, which flatters it, and where labels come sooner for one kind of
row than for another, which is another risk and no worse model. Rows of one customer are not independent: they alarm
more. Measured for a Brier risk that rises from 0.11 to 0.25 (tolerance 0.02, holdout of 1,500 rows): the median stream
alarms after 137 rows when bad from the start, 250 after 3,000 good rows, 340 after 10,000.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.statistics.confidence_sequence import (
    check_alpha,
    fixed_sample_upper_bound,
    lower_sequence,
    unit_values,
)
from selfheal_assets.core.statistics.metrics import FloatArray, label_and_score

RESTART_EVERY = 500
"""Losses between the starts of two sequences."""
LONGEST_STRETCH = 64
"""Restarts after which a sequence ends, the first excepted: time stays proportional to the losses."""


@dataclass(frozen=True, kw_only=True)
class RiskMonitoring:
    """What the test says of one stream of losses, in units of the loss."""

    alarm: bool
    alarm_index: int | None
    """0-based place of the loss at which the alarm was first due."""
    lower: float
    """The highest risk proven of any stretch of the stream; above `threshold` exactly when there is an alarm."""
    mean: float | None
    """Plain mean of all the target's losses; None without any."""
    source_upper: float
    threshold: float
    """`source_upper` plus the tolerance."""
    can_alarm: bool
    """Whether as many losses of 1 would have raised it. If not, no alarm says nothing."""


def monitor_risk(
    target: npt.ArrayLike,
    source: npt.ArrayLike,
    *,
    tolerance: float,
    alpha: float = 0.05,
    restart_every: int = RESTART_EVERY,
    seed: int = 0,
) -> RiskMonitoring:
    """Test the losses `target` (n,) in order of arrival against the holdout's `source` (m,), all in [0, 1].

    `restart_every` (losses) must stay the same while a stream is watched; `seed` orders the source. Time grows with n.
    Raises SelfhealError for a loss missing or outside [0, 1], a negative tolerance, an alpha outside (0, 1), or a
    `restart_every` below 1.
    """
    losses = unit_values("target losses", target)
    check_alpha(alpha)
    if not tolerance >= 0.0:
        raise SelfhealError(f"tolerance must be at least 0; received {tolerance}. Give the rise that may be borne.")
    if restart_every < 1:
        raise SelfhealError(f"restart_every must be at least 1; received {restart_every}. Use a batch's usual rows.")
    source_upper = fixed_sample_upper_bound(unit_values("source losses", source), alpha / 2.0, seed=seed)
    threshold = source_upper + tolerance
    lower = _highest_lower(losses, alpha / 2.0, restart_every)
    alarms = np.flatnonzero(lower > threshold)
    return RiskMonitoring(
        alarm=len(alarms) > 0,
        alarm_index=int(alarms[0]) if len(alarms) else None,
        lower=float(lower.max(initial=0.0)),
        mean=float(losses.mean()) if len(losses) else None,
        source_upper=source_upper,
        threshold=threshold,
        can_alarm=bool((_highest_lower(np.ones(len(losses)), alpha / 2.0, restart_every) > threshold).any()),
    )


def _highest_lower(losses: FloatArray, alpha: float, restart_every: int) -> FloatArray:
    """The highest lower bound at each loss (n,) over all sequences begun before it."""
    highest = np.zeros(len(losses))
    for number, start in enumerate(range(0, len(losses), restart_every)):
        end = start + LONGEST_STRETCH * restart_every if number else len(losses)
        share = 1.0 / ((number + 1) * (number + 2))
        highest[start:end] = np.maximum(highest[start:end], lower_sequence(losses[start:end], alpha * share))
    return highest


def brier_losses(label: npt.ArrayLike, score: npt.ArrayLike) -> FloatArray:
    """(score - label)^2 of every row (n,), in [0, 1] (Brier 1950, Monthly Weather Review 78:1).

    Raises SelfhealError for a score outside [0, 1], a label other than 0 and 1, or arrays of unequal length.
    """
    truth, _ = label_and_score(label, score)
    scores = unit_values("scores", score)
    wrong = truth[~np.isin(truth, (0.0, 1.0))]
    if len(wrong):
        raise SelfhealError(f"labels must be 0 or 1; received {wrong[:5].tolist()}. Pass the labelled rows only.")
    return np.asarray((scores - truth) ** 2)
