"""Judge simulated rollouts: selfheal's own core, one by one; a fixed threshold and Kayenta's rules, many at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from canary_world import (
    ERRORS,
    LABELLED,
    POOL_ROWS,
    REQUESTS,
    SLOW,
    Counting,
    Scenario,
    Traffic,
    pool,
)

from selfheal_assets.core.rollout import advance, opened
from selfheal_assets.core.rollout_state import RolloutState
from selfheal_assets.core.serving_spec import RolloutSpec

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BEFORE_ALL = (0.05, 0.25, 0.5)
"""The steps at which the champion still answers: both are judged."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ended:
    """What became of one rollout."""

    reached_all: bool
    """It came to answer every request."""
    rejected: bool
    minutes: int
    """From the beginning to its end; of one that comes through, until it answers every request."""
    exposed: int
    """Requests that it answered by then."""
    gate: str = ""
    """That rejected it."""


def selfheal(scenario: Scenario, counting: Counting, spec: RolloutSpec, seed: Sequence[int]) -> Ended:
    """One rollout, looked at every minute; counted on every row it is followed to its end, bake included."""
    traffic = Traffic(scenario, counting, np.random.default_rng(seed))
    rollout = opened(spec, decision_id="d", model="m", champion="1", challenger="2", now=BEGIN)
    arrived: tuple[int, int] | None = None
    while not rollout.ended and not (arrived and counting == "answered"):
        traffic.pass_minute(rollout.weight, rollout.state is not RolloutState.BAKE)
        rollout = advance(rollout, spec, traffic.look, BEGIN + timedelta(minutes=traffic.minute))
        if rollout.weight == 1.0 and arrived is None:
            arrived = traffic.minute, traffic.exposed
    failed = [result.name for result in rollout.results if result.verdict == "FAIL"]
    come_through = arrived is not None and not rollout.rejected
    minutes, exposed = arrived if come_through and arrived else (traffic.minute, traffic.exposed)
    return Ended(arrived is not None, rollout.rejected, minutes, exposed, failed[0] if failed else "")


@dataclass(frozen=True)
class Series:
    """One step of many rollouts: figures by minute, (rollouts, minutes)."""

    requests: int
    """That the challenger answered in a minute; the baseline beside it answered as many."""
    champion: dict[str, Floats]
    challenger: dict[str, Floats]
    """Share of failed and of slow requests, and mean Brier loss of the labelled rows (nan before there are any)."""


def series(
    scenario: Scenario, weight: float, minutes: int, before: int, rollouts: int, rng: np.random.Generator
) -> Series:
    """`before`: minutes since the rollout began; labels come later."""
    requests, shape = int(REQUESTS * weight), (rollouts, minutes)
    drawn = pool(scenario.brier)
    rows = rng.integers(0, POOL_ROWS, (*shape, int(REQUESTS * LABELLED)))
    early = np.arange(before, before + minutes) < scenario.labels_after

    def share(probability: float) -> Floats:
        return rng.binomial(requests, probability, shape) / requests

    def figures(worse: Scenario, losses: Floats) -> dict[str, Floats]:
        return {
            "errors": share(ERRORS + worse.errors),
            "slow": share(SLOW + worse.slow),
            "quality": np.where(early, np.nan, losses[rows].mean(axis=2)),
        }

    equal = figures(Scenario(name="champion"), drawn.champion_loss)
    return Series(requests, equal, figures(scenario, drawn.challenger_loss))


@dataclass(frozen=True, kw_only=True)
class FixedThreshold:
    """Rejects, at the end of a minute with `LEAST` values, when a mean of the step is too far above the champion's."""

    name: str
    limit: float
    minutes: tuple[int, ...]
    """Of each step."""

    LEAST = 200

    def rejects(self, step: Series) -> Floats:
        """The minute (rollouts,) in which it rejects; inf where it does not."""
        first = np.full(len(step.champion["errors"]), np.inf)
        for name, champion in step.champion.items():
            known = np.isfinite(champion)
            minutes = np.cumsum(known, axis=1)
            values = minutes * (REQUESTS * LABELLED if name == "quality" else step.requests)
            excess = np.cumsum(np.where(known, step.challenger[name] - champion, 0.0), axis=1) / np.maximum(minutes, 1)
            over = (excess > self.limit) & (values >= self.LEAST)
            first = np.minimum(first, np.where(over.any(axis=1), over.argmax(axis=1) + 1.0, np.inf))
        return first


@dataclass(frozen=True, kw_only=True)
class Kayenta:
    """Mann-Whitney by metric, as Kayenta's NetflixACAJudge: a metric is High when the 98 % interval of the shift lies
    above a quarter of the shift's own size; the score is the share of metrics that are not. Below `MARGINAL` at any
    run, or below `PASS` at the last run of a step: rejected."""

    name: str
    minutes: tuple[int, ...]
    every: int
    """Minutes between two runs; each looks at the step so far."""

    CONFIDENCE = 0.98
    TOLERANCE = 0.25
    PASS, MARGINAL = 95.0, 75.0

    def rejects(self, step: Series) -> Floats:
        rollouts, minutes = step.champion["errors"].shape
        first = np.full(rollouts, np.inf)
        for end in range(self.every, minutes + 1, self.every):
            passes, judged = np.zeros(rollouts), 0
            for name, champion in step.champion.items():
                known = np.isfinite(champion[0, :end])
                if known.any():
                    judged += 1
                    passes += ~self._high(champion[:, :end][:, known], step.challenger[name][:, :end][:, known])
            score = 100.0 * passes / judged
            limit = self.PASS if end + self.every > minutes else self.MARGINAL
            first = np.where((score < limit) & np.isinf(first), float(end), first)
        return first

    def _high(self, champion: Floats, challenger: Floats) -> npt.NDArray[np.bool_]:
        """The interval is between order statistics of the differences of all pairs, by the normal approximation."""
        points = champion.shape[1]
        pairs = np.sort((challenger[:, :, None] - champion[:, None, :]).reshape(len(champion), -1), axis=1)
        width = NormalDist().inv_cdf(0.5 + self.CONFIDENCE / 2.0) * (points**2 * (2 * points + 1) / 12.0) ** 0.5
        place = int(np.floor(points**2 / 2.0 - width))
        if place < 1:
            return np.zeros(len(champion), dtype=bool)
        return np.asarray(pairs[:, place - 1] > self.TOLERANCE * np.abs(np.median(pairs, axis=1)))


def peer(judge: FixedThreshold | Kayenta, scenario: Scenario, rollouts: int, seed: Sequence[int]) -> list[Ended]:
    """Many rollouts through the steps before everybody; what is not rejected there reaches everybody."""
    rng, before = np.random.default_rng(seed), 0
    rejected = np.zeros(rollouts, dtype=bool)
    minutes, exposed = np.zeros(rollouts), np.zeros(rollouts)
    for weight, length in zip(BEFORE_ALL, judge.minutes, strict=True):
        step = series(scenario, weight, length, before, rollouts, rng)
        at = judge.rejects(step)
        spent = np.where(rejected, 0.0, np.minimum(at, length))
        minutes, exposed = minutes + spent, exposed + spent * step.requests
        rejected |= np.isfinite(at)
        before += length
    return [Ended(not bad, bool(bad), int(m), int(e)) for bad, m, e in zip(rejected, minutes, exposed, strict=True)]
