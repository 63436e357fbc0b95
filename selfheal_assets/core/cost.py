"""Does a heal pay? Expected loss against the action's cost, with the sums. Never decides by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from selfheal_assets.core.causes import Action
from selfheal_assets.core.model_spec import CostSpec
from selfheal_assets.core.situation import Heal

SECONDS_PER_HOUR = 3_600.0


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Expected loss and cost, in the declared currency."""

    loss: float
    cost: float
    words: str

    @property
    def pays(self) -> bool:
        return self.loss >= self.cost


def sums(spec: CostSpec, action: Action, drop: float | None, assumed_drop: float, heals: Sequence[Heal]) -> Sums | None:
    """What not healing would lose over the horizon, and what the action costs; None when no value is declared.

    `drop` in units of the metric; where it is not measured, `assumed_drop` stands in for it. The hours are the median
    of the same action's past; without a past they count as nothing.
    """
    if spec.value_per_unit_day <= 0.0:
        return None
    lost = assumed_drop if drop is None else drop
    loss = lost * spec.value_per_unit_day * spec.horizon_days
    past = [heal.seconds for heal in heals if heal.action is action and heal.seconds is not None]
    hours = median(past) / SECONDS_PER_HOUR if past else 0.0
    cost = hours * spec.compute_per_hour + spec.per_heal
    words = (
        f"expected loss {loss:.2f} = drop {lost:.4f}{' (assumed)' if drop is None else ''} x "
        f"{spec.value_per_unit_day:g} a day x {spec.horizon_days:g} days; cost {cost:.2f} = "
        f"{hours:.3f} h ({len(past)} past) x {spec.compute_per_hour:g} + {spec.per_heal:g}"
    )
    return Sums(loss=loss, cost=cost, words=words)
