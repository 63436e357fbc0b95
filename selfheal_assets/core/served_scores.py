"""Judge the scores that were served of late by those on the champion's holdout: counts in, a status out. Never acts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from selfheal_assets.core.evidence import Signal, Status
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.rollout_look import BUCKETS
from selfheal_assets.core.served_counts import Served
from selfheal_assets.core.served_past import ServedPast
from selfheal_assets.core.serving_health import Assessment
from selfheal_assets.core.statistics.effect_size import psi_of_counts


@dataclass(frozen=True, kw_only=True)
class Lately:
    """What the champion served in the last `serving.score_minutes`, and in as many before."""

    last: Served
    before: Served
    whole: bool
    """Whether all of that time was looked at, under this champion."""


def lately(spec: ModelSpec, past: ServedPast, version: str, now: datetime) -> Lately:
    """Of all servers together."""
    time = timedelta(minutes=spec.serving.score_minutes)
    return Lately(
        last=past.scored_between(version, now - time, now),
        before=past.scored_between(version, now - 2 * time, now - time),
        whole=past.scored_since(version, now - 2 * time),
    )


def assess_served_scores(
    spec: ModelSpec, reference: Sequence[int] | None, served: Lately, store: Status, said: Status | None
) -> Assessment:
    """RAISED when the PSI against `reference` is larger than `serving.max_score_psi` in both times, CLEAR when in none.

    UNKNOWN when it is in one of them, and without scores enough: to stand for two whole times gives the batches, which
    know more, the time to say what happened. `store`: what FEATURE_STORE says; scores of cached or default features
    move by themselves. `said`: the last word on this signal; once there was one, half of `serving.min_scores` do.
    """
    doubt = _doubt(spec, reference, served, store, said)
    status, psi, reason = (Status.UNKNOWN, None, doubt) if doubt else _compared(spec, reference or (), served)
    return Assessment(
        signal=Signal.SERVED_SCORES,
        status=status,
        value=psi,
        threshold=spec.serving.max_score_psi,
        sample_size=sum(served.last.scores),
        reason=reason,
        details={"scores": list(served.last.scores), "reference": list(reference or ())},
    )


def _compared(spec: ModelSpec, reference: Sequence[int], served: Lately) -> tuple[Status, float, str]:
    limit, minutes = spec.serving.max_score_psi, spec.serving.score_minutes
    last, before = (psi_of_counts(reference, one.scores) for one in (served.last, served.before))
    beyond = {last > limit, before > limit}
    status = Status.UNKNOWN if len(beyond) > 1 else Status.RAISED if True in beyond else Status.CLEAR
    reason = (
        f"PSI {last:.2f} of the last {minutes:g} minutes' {sum(served.last.scores)} scores against the champion's "
        f"holdout, and {before:.2f} of the {sum(served.before.scores)} before; at most {limit:g} is allowed"
    )
    return status, last, reason


def _doubt(
    spec: ModelSpec, reference: Sequence[int] | None, served: Lately, store: Status, said: Status | None
) -> str | None:
    """Why nothing can be said."""
    serving, counts = spec.serving, (sum(served.last.scores), sum(served.before.scores))
    known = said in (Status.CLEAR, Status.RAISED)  # Traffic about as thin as the limit would change its word for ever.
    needed = serving.min_scores / 2 if known else serving.min_scores
    rows, fallen_back = served.last.rows + served.before.rows, served.last.fallen_back + served.before.fallen_back
    held_out = sum(reference or ()) if reference and len(reference) == BUCKETS else 0
    if held_out < spec.drift.min_rows:
        return f"{held_out} scores are kept of the champion's holdout; {spec.drift.min_rows} are needed"
    if store is Status.RAISED or fallen_back > serving.max_error_share * rows:
        return f"{fallen_back} of {rows} rows had no live features: that moves scores by itself"
    if min(counts) < needed:
        return f"{counts[0]} scores in {serving.score_minutes:g} minutes and {counts[1]} before; {needed:g} are needed"
    if not served.whole:
        return f"the champion's scores were not looked at for {2 * serving.score_minutes:g} minutes yet"
    return None
