"""Measure what live traffic met: the clients' answers, the ledger and the log in, its numbers out. Judges none."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from selfheal_assets.core.causes import Cause
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.rollout_state import Rollout, RolloutState
from selfheal_assets.operations.demo_log import logged_events
from selfheal_assets.operations.demo_served import (
    LIVE,
    Killed,
    Logged,
    Release,
    Served,
    StoreAway,
    Taken,
)
from selfheal_assets.operations.demo_traffic import Answered, Failed, LiveTraffic
from selfheal_assets.stages.case_file import CaseFile
from selfheal_assets.stages.rollout_records import past_rollouts, transitions_of
from selfheal_assets.wiring import Services

OF_SERVING = (Cause.BAD_RELEASE, Cause.FEATURE_STORE_FAULT, Cause.SERVING_FAULT)
COMMITS_FORGIVEN = 2
"""A row waits for the next commit, and for the disk."""
ON_THE_WAY_S = 0.2
"""So long after the kill an answer that was sent before it may arrive."""


@dataclass(kw_only=True)
class Chaos:
    """What the demonstration did, and when. Times in seconds since 1970."""

    bad_rollout: str = ""
    store_went: float = 0.0
    store_came: float = 0.0
    killed_at: float = 0.0
    killed_pid: int = 0
    successor: int | None = None


def measured(
    services: Services, spec: ModelSpec, traffic: LiveTraffic, chaos: Chaos, cases: Sequence[CaseFile]
) -> Served:
    """After the traffic has stopped, and its last answers had the time to be written down."""
    answered, rows = traffic.answered, [row for one in traffic.answered for row in one.answers]
    courses = {
        one.id: [r for _, r in transitions_of(services.ledger, spec, one.id)] for one in _rollouts(services, spec)
    }
    bad = courses.pop(chaos.bad_rollout)
    good = list(courses.values())[-1]
    return Served(
        requests=len(answered),
        failed=len(traffic.failed),
        tried_again=traffic.tried_again,
        rows=len(rows),
        levels=_levels(answered),
        good=_release(good, answered),
        bad=_release(bad, answered),
        taken=_taken(bad, answered),
        store=_store(chaos, answered, traffic.failed),
        killed=_killed(chaos, answered, traffic.failed),
        logged=_logged(services, spec, chaos, answered),
        incidents={
            cause: [str(case.incident.state) for case in cases if case.incident.cause is cause] for cause in OF_SERVING
        },
        champion=rows[-1].version if rows else "",
    )


def _levels(answered: Iterable[Answered]) -> dict[str, int]:
    return dict(Counter(row.level for one in answered for row in one.answers))


def _rollouts(services: Services, spec: ModelSpec) -> list[Rollout]:
    return sorted(past_rollouts(services.ledger, spec), key=lambda one: one.opened_at)


def _release(course: Sequence[Rollout], answered: Iterable[Answered]) -> Release:
    last = course[-1]
    ended = last.changed_at.timestamp() if last.state is RolloutState.PROMOTED else float("inf")
    own = [row for one in answered if one.sent < ended for row in one.answers if row.version == last.challenger]
    return Release(
        version=last.challenger,
        states=list(dict.fromkeys(str(one.state) for one in course)),
        verdict=str(last.verdict),
        reason=last.reason,
        rows_answered=len(own),
    )


def _taken(course: Sequence[Rollout], answered: Iterable[Answered]) -> Taken:
    last = course[-1]
    at = [one.received for one in answered if any(row.version == last.challenger for row in one.answers)]
    if not at:
        return Taken(first_to_last_s=None, verdict_to_last_s=None)
    late = max(0.0, max(at) - last.changed_at.timestamp())
    return Taken(first_to_last_s=round(max(at) - min(at), 2), verdict_to_last_s=round(late, 2))


def _store(chaos: Chaos, answered: Iterable[Answered], failed: Iterable[Failed]) -> StoreAway:
    answered = list(answered)
    during = [one for one in answered if chaos.store_went <= one.sent and one.received <= chaos.store_came]
    after = [
        one.received
        for one in answered
        if one.sent > chaos.store_came and any(row.level == LIVE for row in one.answers)
    ]
    return StoreAway(
        seconds=round(chaos.store_came - chaos.store_went, 1),
        answered=len(during),
        failed=sum(one.given_up > chaos.store_went and one.sent < chaos.store_came for one in failed),
        levels=_levels(during),
        live_again_s=round(min(after) - chaos.store_came, 1) if after else None,
    )


def _killed(chaos: Chaos, answered: Iterable[Answered], failed: Iterable[Failed]) -> Killed:
    gone = chaos.killed_at + ON_THE_WAY_S
    back = min((one.received for one in answered if one.received > gone), default=float("inf"))
    return Killed(
        pid=chaos.killed_pid,
        successor=chaos.successor,
        silent_s=round(back - chaos.killed_at, 1),
        failed=sum(one.given_up > chaos.killed_at and one.sent < back for one in failed),
    )


def _logged(services: Services, spec: ModelSpec, chaos: Chaos, answered: Iterable[Answered]) -> Logged:
    at = {str(row.event_id): one.received for one in answered for row in one.answers}
    logged = logged_events(services, spec)
    window_s = COMMITS_FORGIVEN * spec.serving.commit_ms / 1000.0
    missing = [received for event, received in at.items() if event not in logged]
    forgiven = [received for received in missing if chaos.killed_at - window_s <= received <= chaos.killed_at]
    return Logged(
        rows=len(logged),
        missing=len(missing) - len(forgiven),
        in_commit_window=len(forgiven),
        unanswered=len(logged - at.keys()),
    )
