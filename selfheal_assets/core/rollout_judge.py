"""Judge a challenger beside the champion over the same period: counts to a verdict. Never passes what is missing.

Every gate measures how much worse the challenger is, with an interval that stays valid however often one looks:
FAIL when it is proven to be worse and is measured worse than the margin, PASS when it is proven not to be worse by the
margin, else INCONCLUSIVE. For the distance of the scores, which no two models have at 0: FAIL when proven above the
limit. Two alphas follow. That an equal challenger fails has probability `alpha` over all gates and periods of a
rollout together: each has its share. That one worse by the margin in any one thing passes even a single period has
probability `alpha`: every gate must pass, so nothing has to be shared out.
A challenger that mends a harmed champion scores otherwise: the limit is set from the distance of both on the holdout.
It misleads where rows come in clusters (one customer, many rows), where all intervals are too narrow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.gates import GateResult, Verdict
from selfheal_assets.core.rollout_look import Look
from selfheal_assets.core.serving_spec import RolloutSpec
from selfheal_assets.core.statistics.confidence_sequence import lower_sequence, upper_sequence
from selfheal_assets.core.statistics.distribution_sequence import band, bucket_distance
from selfheal_assets.core.statistics.metrics import as_floats
from selfheal_assets.core.statistics.proportions import ShareDifference
from selfheal_assets.core.statistics.rate_sequence import EVEN, RARE, Rate, rate_difference

GATES = 5


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one look says."""

    verdict: Verdict
    results: tuple[GateResult, ...]
    """Of every gate that had anything to judge, or that had to."""

    @property
    def reason(self) -> str:
        """Of the gates that made the verdict."""
        return " ".join(f"{one.name}: {one.reason}" for one in self.results if one.verdict is self.verdict)


@dataclass(frozen=True, kw_only=True)
class _Found:
    result: GateResult
    required: bool
    """Without its PASS the challenger gets no more."""


def judge(spec: RolloutSpec, look: Look, *, for_everybody: bool = False, expected_distance: float = 0.0) -> Judgement:
    """The verdict on one period: the counts since it began. `for_everybody`: a PASS gives the challenger all traffic.
    `expected_distance`: of the scores of both, where the challenger was judged before its rollout.

    Errors, time and scores are always required; quality where `require_quality` says so and everybody is next. Where
    they are there, business values and labels can fail a challenger that is not required to show them.
    Numbers that cannot be, such as more slow rows than rows, are INCONCLUSIVE: an error of the judge, not of the model.
    """
    quality = spec.require_quality and for_everybody
    found = [_gate("errors", True, lambda: _errors(spec, look))]
    if spec.over == "requests":
        found.append(_gate("slow", True, lambda: _slow(spec, look)))
    found.append(_gate("scores", True, lambda: _scores(spec, look, expected_distance)))
    if look.champion.business or look.challenger.business:
        found.append(_gate("business", False, lambda: _business(spec, look)))
    if look.loss_differences or quality:
        found.append(_gate("quality", quality, lambda: _quality(spec, look)))
    return Judgement(verdict=_overall(found), results=tuple(one.result for one in found))


def periods(spec: RolloutSpec) -> int:
    """How often a rollout is judged on counts of their own: in the shadow, at each step, in the bake."""
    return (spec.shadow_requests > 0) + len(spec.steps) + 1


def _gate(name: str, required: bool, measured: Callable[[], GateResult]) -> _Found:
    try:
        return _Found(result=measured(), required=required)
    except SelfhealError as error:
        reason = f"not judged. {error}"
        return _Found(result=GateResult(name, Verdict.INCONCLUSIVE, None, None, None, reason), required=True)


def _overall(found: list[_Found]) -> Verdict:
    if any(one.result.verdict is Verdict.FAIL for one in found):
        return Verdict.FAIL
    met = all(one.result.verdict is Verdict.PASS for one in found if one.required)
    return Verdict.PASS if met else Verdict.INCONCLUSIVE


def _errors(spec: RolloutSpec, look: Look) -> GateResult:
    champion, challenger = (Rate(arm.errors, arm.rows) for arm in (look.champion, look.challenger))
    found = rate_difference(champion, challenger, _share(spec), spec.alpha, RARE)
    return _compared("errors", found, spec.error_margin, "share of rows that could not be scored", look)


def _slow(spec: RolloutSpec, look: Look) -> GateResult:
    champion, challenger = (Rate(arm.slow, arm.rows) for arm in (look.champion, look.challenger))
    found = rate_difference(champion, challenger, _share(spec), spec.alpha, RARE)
    return _compared("slow", found, spec.slow_margin, "share of rows slower than serving.max_latency_ms", look)


def _business(spec: RolloutSpec, look: Look) -> GateResult:
    """Lower is worse, so the champion's mean is the second here."""
    champion, challenger = (Rate(arm.business_sum, arm.business) for arm in (look.champion, look.challenger))
    found = rate_difference(challenger, champion, _share(spec), spec.alpha, EVEN)
    return _compared("business", found, spec.business_margin, "mean business value, lower being worse,", look)


def _scores(spec: RolloutSpec, look: Look, expected: float) -> GateResult:
    champion, challenger, limit = look.champion, look.challenger, expected + spec.score_distance
    value = bucket_distance(champion.scores, challenger.scores)
    if isnan(value):
        reason = f"{sum(champion.scores)} scores of the champion and {sum(challenger.scores)} of the challenger."
        return GateResult("scores", Verdict.INCONCLUSIVE, None, limit, None, reason)
    errors = [
        sum(band(sum(arm.scores), alpha / 2.0) for arm in (champion, challenger))
        for alpha in (_share(spec), spec.alpha)
    ]
    low, high = max(value - errors[0], 0.0), min(value + errors[1], 1.0)
    verdict = Verdict.FAIL if low > limit else Verdict.PASS if high < limit else Verdict.INCONCLUSIVE
    reason = (
        f"distance {value:.3f} ({low:.3f} to {high:.3f}) of the scores of both, {expected:.3f} on the holdout; "
        f"with more than {limit:.3f} it is another model than the one that was judged."
    )
    return GateResult("scores", verdict, value, limit, (low, high), reason)


def _quality(spec: RolloutSpec, look: Look) -> GateResult:
    """One sequence over the whole rollout: its alpha is not shared among periods."""
    worse = as_floats("loss differences", look.loss_differences)
    rows, value, low, high = len(worse), float("nan"), -1.0, 1.0
    if rows:
        unit, value = (1.0 + worse) / 2.0, float(worse.mean())
        low = 2.0 * float(lower_sequence(unit, spec.alpha / GATES)[-1]) - 1.0
        high = 2.0 * float(upper_sequence(unit, spec.alpha)[-1]) - 1.0
    found = ShareDifference(value, low, high)
    return _compared("quality", found, spec.quality_margin, f"Brier loss on the same {rows} labelled rows", look)


def _share(spec: RolloutSpec) -> float:
    return spec.alpha / (GATES * periods(spec))


def _compared(name: str, worse: ShareDifference, margin: float, what: str, look: Look) -> GateResult:
    """PASS, FAIL or neither by how much worse the challenger is."""
    rows = f"{look.challenger.rows} rows of the challenger and {look.champion.rows} of the champion"
    if isnan(worse.value):
        return GateResult(name, Verdict.INCONCLUSIVE, None, margin, None, f"nothing to compare: {what}; {rows}.")
    failed = worse.low > 0.0 and worse.value > margin
    verdict = Verdict.FAIL if failed else Verdict.PASS if worse.high < margin else Verdict.INCONCLUSIVE
    reason = (
        f"{what} worse by {worse.value:+.4f} ({worse.low:+.4f} to {worse.high:+.4f}), {rows}; "
        f"may be worse by {margin:g}."
    )
    return GateResult(name, verdict, worse.value, margin, (worse.low, worse.high), reason)
