"""Simulate the traffic of a rollout: a scenario and a seed in, counts by minute out. Never judges anything."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.rollout_look import BUCKETS, ArmCounts, Look

REQUESTS = 1_000
"""In a minute."""
ERRORS, SLOW, BUSINESS = 0.02, 0.01, 0.3
"""Of the champion: shares of failed and of slow requests, and mean business value (0 or 1)."""
LABELLED, LABELS_AFTER = 0.02, 10
"""The share of rows that get a label, and how many minutes later."""
POSTED = 0.1
"""The share of answered rows about which a business value is posted."""
POOL_ROWS = 200_000
WORSE = 0.05
"""Five points."""
SPREAD = (0.5, 2.0)
"""The true probabilities are beta distributed so."""

Counting = Literal["every row", "answered"]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """How the challenger differs from the champion."""

    name: str
    errors: float = 0.0
    slow: float = 0.0
    brier: float = 0.0
    business: float = 0.0
    """How much higher its shares of failed and slow requests and its Brier loss are, and how much lower its business
    value."""
    labels_after: int = LABELS_AFTER
    """Minutes."""

    @property
    def equal(self) -> bool:
        return not (self.errors or self.slow or self.brier or self.business)


@dataclass(frozen=True)
class Pool:
    """Rows to draw from: losses of both on the same rows, and where the scores lie."""

    champion_loss: npt.NDArray[np.float64]
    challenger_loss: npt.NDArray[np.float64]
    buckets: npt.NDArray[np.float64]
    """Share of the scores in each bucket, the same for both: a worse challenger mixes up whose score is whose."""


@lru_cache(maxsize=8)
def pool(brier: float) -> Pool:
    """Rows of a challenger whose Brier loss is so much higher, on average over all rows that there could be."""
    rng = np.random.default_rng(11)
    a, b = SPREAD
    truth = rng.beta(a, b, POOL_ROWS)
    label = (rng.random(POOL_ROWS) < truth).astype(np.float64)
    one, other = (np.clip(truth + rng.normal(0.0, 0.05, POOL_ROWS), 0.0, 1.0) for _ in range(2))
    # The score of another row instead of its own costs twice the covariance of score and truth.
    cost = 2.0 * float(np.cov(other, truth)[0, 1])
    mixed = rng.random(POOL_ROWS) < brier / cost
    other[mixed] = rng.permutation(other[mixed])
    losses = (one - label) ** 2, (other - label) ** 2
    # Of an equal challenger exactly equal, and of another one exactly as much worse as it says.
    challenger = losses[1] + (losses[0].mean() + brier - losses[1].mean())
    shares = np.histogram(one, bins=BUCKETS, range=(0.0, 1.0))[0] / POOL_ROWS
    return Pool(losses[0], np.clip(challenger, 0.0, 1.0), shares)


@dataclass
class Traffic:
    """One simulated service, minute by minute, as its counters stand."""

    scenario: Scenario
    counting: Counting
    rng: np.random.Generator
    look: Look = field(default_factory=Look)
    minute: int = 0
    exposed: int = 0
    """Requests that the challenger answered so far."""

    def pass_minute(self, weight: float, scored_by_both: bool) -> None:
        """With `counting` "answered" failures show only in answers: in the shadow the challenger is as the champion."""
        answered = int(self.rng.binomial(REQUESTS, weight))
        worse = self.scenario if answered or self.counting == "every row" else Scenario(name="in the shadow")
        everything = scored_by_both and (self.counting == "every row" or not answered)
        seen = REQUESTS if everything else answered
        others = REQUESTS if everything else REQUESTS - answered
        self.look = Look(
            champion=self.look.champion + self._counted(others, REQUESTS - answered, Scenario(name="champion")),
            challenger=self.look.challenger + self._counted(seen, answered, worse),
            loss_differences=(*self.look.loss_differences, *self._labelled()),
        )
        self.minute += 1
        self.exposed += answered

    def _counted(self, rows: int, answered: int, worse: Scenario) -> ArmCounts:
        errors = int(self.rng.binomial(rows, ERRORS + worse.errors))
        posted = int(self.rng.binomial(answered, POSTED))
        return ArmCounts(
            scores=tuple(self.rng.multinomial(rows - errors, pool(self.scenario.brier).buckets).tolist()),
            errors=errors,
            slow=int(self.rng.binomial(rows, SLOW + worse.slow)),
            answered=answered,
            business=posted,
            business_sum=float(self.rng.binomial(posted, BUSINESS - worse.business)),
        )

    def _labelled(self) -> list[float]:
        if self.minute < self.scenario.labels_after:
            return []
        drawn = pool(self.scenario.brier)
        rows = self.rng.integers(0, POOL_ROWS, int(REQUESTS * LABELLED))
        found: list[float] = (drawn.challenger_loss[rows] - drawn.champion_loss[rows]).tolist()
        return found
