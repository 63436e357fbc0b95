"""Count what servers served of one version: metrics of a process in, scores and business values out. Never judges."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from selfheal_assets.core.rollout_counts import BUSINESS, BUSINESS_SUM, SCORES, by_bucket, total_of
from selfheal_assets.core.rollout_look import BUCKETS
from selfheal_assets.core.server_reading import LEVELS, LIVE, Sample

BUSINESS_SQUARES = "selfheal_business_squares_total"


@dataclass(frozen=True, kw_only=True)
class Business:
    """Posted business values of one version."""

    values: float = 0.0
    total: float = 0.0
    squares: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Served:
    """What was served under one version, by a process since it began, or by all of them in some time."""

    scores: tuple[int, ...] = (0,) * BUCKETS
    """Rows that the version scored, by bucket of the score."""
    rows: int = 0
    """Rows that features were looked up for, whoever scored them."""
    fallen_back: int = 0
    """Those of them without live features."""
    business: Business = Business()

    def __add__(self, other: "Served") -> "Served":
        return self._with(other, 1)

    def __sub__(self, earlier: "Served") -> "Served":
        return self._with(earlier, -1)

    def _with(self, other: "Served", sign: int) -> "Served":
        pairs = zip(self.numbers(), other.numbers(), strict=True)
        return Served.from_numbers([one + sign * more for one, more in pairs])

    @property
    def began_anew(self) -> bool:
        """Whether a count of a difference is negative: a counter was set to zero in between."""
        return min(*self.scores, self.rows, self.fallen_back, self.business.values) < 0

    def numbers(self) -> list[float]:
        """All of it in a fixed order, as JSON can hold it."""
        business = self.business
        return [*self.scores, self.rows, self.fallen_back, business.values, business.total, business.squares]

    @classmethod
    def from_numbers(cls, numbers: Sequence[float]) -> "Served":
        """Read back what `numbers` gave; ValueError for another number of them."""
        *scores, rows, fallen_back = map(int, numbers[: BUCKETS + 2])
        values, total, squares = map(float, numbers[BUCKETS + 2 :])
        business = Business(values=values, total=total, squares=squares)
        return cls(scores=tuple(scores), rows=rows, fallen_back=fallen_back, business=business)


def served_of(samples: Iterable[Sample], version: str) -> Served:
    """The counts of one process; what its metrics do not have, or count in other buckets, is 0."""
    told = [one for one in samples if isfinite(one.value)]
    own = [one for one in told if one.labels.get("version") == version]
    scores = by_bucket(one for one in own if one.name == SCORES)
    levels = [one for one in told if one.name == LEVELS]
    return Served(
        scores=scores if len(scores) == BUCKETS else Served().scores,
        rows=int(sum(one.value for one in levels)),
        fallen_back=int(sum(one.value for one in levels if one.labels.get("level") != LIVE)),
        business=Business(
            values=total_of(own, BUSINESS), total=total_of(own, BUSINESS_SUM), squares=total_of(own, BUSINESS_SQUARES)
        ),
    )
