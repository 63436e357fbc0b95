"""Advance a rollout: its last state and a look in, its next state out. Never gives more traffic without a PASS.

One exception is declared: `rollout.on_timeout: promote`, for a challenger that was measured and against which nothing
was shown. A FAIL ends a rollout at once, also one that a person holds.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from selfheal_assets.core.errors import RolloutError
from selfheal_assets.core.gates import Verdict
from selfheal_assets.core.rollout_judge import Judgement, judge
from selfheal_assets.core.rollout_look import Look
from selfheal_assets.core.rollout_state import Rollout, RolloutState
from selfheal_assets.core.serving_spec import RolloutSpec

_S = RolloutState


def opened(
    spec: RolloutSpec,
    *,
    decision_id: str,
    model: str,
    champion: str,
    challenger: str,
    now: datetime,
    look: Look | None = None,
    skip_steps: bool = False,
    expected_distance: float = 0.0,
) -> Rollout:
    """The beginning: in the shadow, at the first step, or at the end for a version that `skips_steps`.

    `look`: the counts there are by now, which do not belong to the rollout. `expected_distance`: of the scores of both
    on the holdout. Raises RolloutError for one version twice.
    """
    if champion == challenger:
        raise RolloutError(
            f"A rollout needs two versions; received {champion} as champion and challenger of {model}. "
            "It serves already: nothing is to be done."
        )
    began = _counts(look or Look())
    rollout = Rollout(
        id=decision_id,
        model=model,
        champion=champion,
        challenger=challenger,
        state=_S.SHADOW,
        reason="both score every request, and the champion answers",
        opened_at=now,
        step_since=now,
        deadline=now + timedelta(hours=spec.max_hours),
        changed_at=now,
        began=began,
        expected_distance=expected_distance,
    )
    if skip_steps:
        reason = f"it served within the last {spec.rollback_window_days:g} days, so the steps are skipped"
        return replace(rollout, state=_S.PROMOTED, weight=1.0, reason=reason)
    if spec.shadow_requests:
        return rollout
    return replace(rollout, state=_S.STEP, weight=spec.steps[0], step=1, reason=_answers(spec.steps[0]))


def judged(rollout: Rollout, spec: RolloutSpec, look: Look) -> Judgement:
    """The verdict on the present period. In the bake the champion scores nothing: its counts of before stand for it."""
    period = look.since(rollout.began)
    if rollout.state is _S.BAKE:
        period = replace(period, champion=rollout.reference + period.champion)
    for_everybody = _next_weight(rollout, spec) == 1.0
    return judge(spec, period, for_everybody=for_everybody, expected_distance=rollout.expected_distance)


def advance(rollout: Rollout, spec: RolloutSpec, look: Look, now: datetime) -> Rollout:
    """The next transition, or the same rollout where there is none. The same look again changes nothing."""
    if rollout.ended:
        return rollout
    period, overdue = look.since(rollout.began), _overdue(rollout, spec, now)
    if period.went_back:
        return _begun_anew(rollout, look, now, overdue)
    found = judged(rollout, spec, look)
    if found.verdict is Verdict.FAIL:
        return _with(rollout.to(_S.ABORTED, found.reason, now, weight=0.0, paused_at=None), found)
    if rollout.paused_at is not None:
        return rollout
    # A further step when the time is over would be a beginning without an end.
    in_time = not overdue or _next_weight(rollout, spec) is None
    if in_time and found.verdict is Verdict.PASS and _long_enough(rollout, spec, period, now):
        return _with(_forward(rollout, spec, look, now), found)
    if overdue:
        return _with(_timed_out(rollout, spec, look, now, found), found)
    return rollout


def paused(rollout: Rollout, by: str, now: datetime) -> Rollout:
    """Held by a person, at its weight. Raises RolloutError when it has ended or is held already."""
    _check(rollout, under_way=True, held=False)
    return rollout.to(rollout.state, f"{by} holds it", now, paused_at=now)


def resumed(rollout: Rollout, by: str, now: datetime) -> Rollout:
    """Let go on; the time for which it was held does not count. Raises RolloutError when it is not held."""
    _check(rollout, under_way=True, held=True)
    held = now - (rollout.paused_at or now)
    return rollout.to(rollout.state, f"{by} lets it go on", now, paused_at=None, deadline=rollout.deadline + held)


def aborted(rollout: Rollout, by: str, reason: str, now: datetime) -> Rollout:
    """Ended by a person: the champion answers. The version is not rejected. Raises RolloutError when it has ended."""
    _check(rollout, under_way=True)
    return rollout.to(_S.ABORTED, f"{by} ended it: {reason}", now, weight=0.0, paused_at=None, ended_by=by)


def _check(rollout: Rollout, *, under_way: bool, held: bool | None = None) -> None:
    if rollout.ended is under_way or (held is not None and held is not (rollout.paused_at is not None)):
        wanted = "under way" if held is None else "paused" if held else "under way and not paused"
        present = f"{rollout.state}{', paused' if rollout.paused_at else ''}"
        raise RolloutError(
            f"The rollout must be {wanted}; received {rollout.id}, which is {present}. "
            "Look at `selfheal rollout status`."
        )


def _forward(rollout: Rollout, spec: RolloutSpec, look: Look, now: datetime) -> Rollout:
    """What a PASS leads to."""
    if rollout.state is _S.BAKE:
        return rollout.to(_S.PROMOTED, "nothing spoke against it in the bake", now)
    weight = _next_weight(rollout, spec)
    if weight is None:
        return _baking(rollout, look, now, "every step passed; the champion stands by")
    return _period(rollout, look, now, _S.STEP, _answers(weight), weight)


def _timed_out(rollout: Rollout, spec: RolloutSpec, look: Look, now: datetime, found: Judgement) -> Rollout:
    """`on_timeout`; what was not measured, or not shown where it must be, is not promoted by it."""
    quality = spec.require_quality and rollout.state is not _S.BAKE
    if quality:
        period = look.since(rollout.began)
        found = judge(spec, period, for_everybody=True, expected_distance=rollout.expected_distance)
    wanting = [
        one.name
        for one in found.results
        if one.value is None or (quality and one.name == "quality" and one.verdict is not Verdict.PASS)
    ]
    late = f"not decided within {spec.max_hours:g} hours"
    if spec.on_timeout == "abort" or wanting:
        missing = f"; not shown: {', '.join(wanting)}" if wanting else ""
        return rollout.to(_S.ABORTED, f"{late}{missing}. {found.reason}", now, weight=0.0)
    if rollout.state is _S.BAKE:
        return rollout.to(_S.PROMOTED, f"{late}, and nothing was shown against it", now)
    return _baking(rollout, look, now, f"{late}, and nothing was shown against it; the champion stands by")


def _begun_anew(rollout: Rollout, look: Look, now: datetime, overdue: bool) -> Rollout:
    """A server restarted: what it had counted in this period is lost, and nothing is concluded from the rest."""
    reason = "a server's counts began anew, so the period does"
    if overdue:
        return rollout.to(_S.ABORTED, f"{reason}, and its time is over", now, weight=0.0, verdict=Verdict.INCONCLUSIVE)
    return rollout.to(rollout.state, reason, now, began=_counts(look), step_since=now)


def _baking(rollout: Rollout, look: Look, now: datetime, reason: str) -> Rollout:
    return _period(rollout, look, now, _S.BAKE, reason, 1.0)


def _period(rollout: Rollout, look: Look, now: datetime, state: RolloutState, reason: str, weight: float) -> Rollout:
    """A new period; what the champion did in the last one is kept for the bake."""
    return rollout.to(
        state,
        reason,
        now,
        weight=weight,
        step=rollout.step + (weight > rollout.weight),
        step_since=now,
        began=_counts(look),
        reference=rollout.reference + look.since(rollout.began).champion,
    )


def _next_weight(rollout: Rollout, spec: RolloutSpec) -> float | None:
    """The smallest declared share above the present one; None from the whole traffic on."""
    return min((share for share in spec.steps if share > rollout.weight), default=None)


def _long_enough(rollout: Rollout, spec: RolloutSpec, period: Look, now: datetime) -> bool:
    minutes = (now - rollout.step_since) / timedelta(minutes=1)
    if rollout.state is _S.SHADOW:
        return period.challenger.rows >= spec.shadow_requests
    if rollout.state is _S.STEP:
        return period.challenger.answered >= spec.step_requests and minutes >= spec.step_minutes
    return minutes >= spec.bake_minutes


def _overdue(rollout: Rollout, spec: RolloutSpec, now: datetime) -> bool:
    """Whether its time is over. A bake is never cut short, and has at least one look of its own."""
    if rollout.paused_at is not None:
        return False
    if rollout.state is not _S.BAKE:
        return now >= rollout.deadline
    baked = rollout.step_since + timedelta(minutes=spec.bake_minutes)
    return now >= max(rollout.deadline, baked) and now > rollout.step_since


def _with(rollout: Rollout, found: Judgement) -> Rollout:
    return replace(rollout, verdict=found.verdict, results=found.results)


def _answers(weight: float) -> str:
    return f"the challenger answers {weight:.0%} of the requests"


def _counts(look: Look) -> Look:
    return replace(look, loss_differences=())
