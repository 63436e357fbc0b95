"""What a rollout is judged by: counts of two versions, and their difference over a time. Never holds a row."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from selfheal_assets.core.errors import RolloutError
from selfheal_assets.core.statistics.distribution_sequence import bucket_distance
from selfheal_assets.core.statistics.metrics import as_floats
from selfheal_assets.core.statistics.risk_monitor import brier_losses

BUCKETS = 20
"""Equal ones of [0, 1], as the servers' histograms have them."""


@dataclass(frozen=True, kw_only=True)
class ArmCounts:
    """What one version did, summed over all servers."""

    scores: tuple[int, ...] = (0,) * BUCKETS
    """Rows that it scored, whether it answered them or not, by bucket of the score."""
    errors: int = 0
    """Rows that it could not score."""
    slow: int = 0
    """Rows, scored or not, that took longer than `serving.max_latency_ms`."""
    answered: int = 0
    """Rows that got its score for an answer."""
    business: int = 0
    """Business values posted about its answers."""
    business_sum: float = 0.0

    def __post_init__(self) -> None:
        if len(self.scores) != BUCKETS:
            raise RolloutError(
                f"Scores must be counted in {BUCKETS} equal buckets of 0 to 1; received {len(self.scores)}. "
                "Run one version of selfheal on all servers."
            )

    @property
    def rows(self) -> int:
        """Rows that it was asked to score."""
        return sum(self.scores) + self.errors

    def __add__(self, other: "ArmCounts") -> "ArmCounts":
        return self._with(other, 1)

    def __sub__(self, earlier: "ArmCounts") -> "ArmCounts":
        """What was added since; with negative counts where a counter began anew."""
        return self._with(earlier, -1)

    def _with(self, other: "ArmCounts", sign: int) -> "ArmCounts":
        return ArmCounts(
            scores=tuple(one + sign * more for one, more in zip(self.scores, other.scores, strict=True)),
            errors=self.errors + sign * other.errors,
            slow=self.slow + sign * other.slow,
            answered=self.answered + sign * other.answered,
            business=self.business + sign * other.business,
            business_sum=self.business_sum + sign * other.business_sum,
        )

    @property
    def least(self) -> float:
        """The smallest of all the counts: negative only where a counter began anew."""
        return min(*self.scores, self.errors, self.slow, self.answered, self.business)

    def to_payload(self) -> dict[str, Any]:
        return {**asdict(self), "scores": list(self.scores)}

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> "ArmCounts":
        return cls(**{**payload, "scores": tuple(payload["scores"])})


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is known of both at one time; the counts only ever grow, until a server begins anew."""

    champion: ArmCounts = field(default_factory=ArmCounts)
    challenger: ArmCounts = field(default_factory=ArmCounts)
    loss_differences: tuple[float, ...] = ()
    """Challenger's less champion's Brier loss on the same labelled rows of this rollout, in the order in which the
    labels came: later looks only add to it."""

    def since(self, earlier: "Look") -> "Look":
        """The counts since an earlier look; the labelled rows are those of the whole rollout."""
        return Look(
            champion=self.champion - earlier.champion,
            challenger=self.challenger - earlier.challenger,
            loss_differences=self.loss_differences,
        )

    @property
    def went_back(self) -> bool:
        """Whether a count of a difference is negative."""
        return min(self.champion.least, self.challenger.least) < 0


_MORE_THAN_ANY = ArmCounts(answered=2**62)
NOT_LOOKED = Look(champion=_MORE_THAN_ANY, challenger=_MORE_THAN_ANY)
"""Stands for counts that could not be had when a rollout was opened: the first look goes back behind them, and its
period begins there."""


def look_of_rows(
    champion: npt.ArrayLike, challenger: npt.ArrayLike, label: npt.ArrayLike, challenger_answers: npt.ArrayLike
) -> Look:
    """The look on rows (n,) that both scored, without a server; a label that is not known yet is nan.

    A score that is no probability counts as an error. Rows must come in the order in which their labels came.
    Raises SelfhealError when the columns are not numbers or not of one length.
    """
    one, other = as_floats("champion", champion), as_floats("challenger", challenger)
    labels, answers = as_floats("label", label), as_floats("challenger_answers", challenger_answers) > 0.0
    if not len(one) == len(other) == len(labels) == len(answers):
        raise RolloutError(
            f"Scores, labels and arms must be of the same rows; received {len(one)}, {len(other)}, {len(labels)} and "
            f"{len(answers)}. Join them by the event id."
        )
    judged = np.isin(labels, (0.0, 1.0)) & _sound(one) & _sound(other)
    differences = brier_losses(labels[judged], other[judged]) - brier_losses(labels[judged], one[judged])
    return Look(
        champion=_counted(one, ~answers),
        challenger=_counted(other, answers),
        loss_differences=tuple(differences.tolist()),
    )


def score_distance(champion: npt.ArrayLike, challenger: npt.ArrayLike) -> float:
    """Of the scores (n,) and (m,) of both, as a rollout measures it; nan when one has none that is a probability."""
    return bucket_distance(bucketed(as_floats("champion", champion)), bucketed(as_floats("challenger", challenger)))


def _sound(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return (scores >= 0.0) & (scores <= 1.0)


def bucketed(scores: npt.NDArray[np.float64]) -> tuple[int, ...]:
    """How many of the scores (n,) are in each bucket; what is no probability is in none.

    Buckets are closed above, as Prometheus' are: a score of 0.05 is in the first.
    """
    bucket = np.clip(np.ceil(scores[_sound(scores)] * BUCKETS).astype(np.int64) - 1, 0, BUCKETS - 1)
    return tuple(np.bincount(bucket, minlength=BUCKETS).tolist())


def _counted(scores: npt.NDArray[np.float64], answers: npt.NDArray[np.bool_]) -> ArmCounts:
    sound = _sound(scores)
    return ArmCounts(
        scores=bucketed(scores),
        errors=int((~sound).sum()),
        answered=int((answers & sound).sum()),
    )
