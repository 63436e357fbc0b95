"""Add the streams up: their results in, the tables of the alarm report out. Never runs a stream."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
from alarms_baselines import ADWIN, BASELINES, EVIDENTLY, KS
from alarms_rates import Rate, clustered_share, count_rate, share
from alarms_scenarios import LATE, PAST_BATCHES, Scenario
from alarms_streams import ChangeResult, LifeResult, StationaryResult
from markdown import table

from selfheal_assets.core.causes import Cause

MONTH = 720
"""Batches: one an hour for thirty days."""
WITHIN = 2
"""Batches of labels."""
GRADUAL_OR_SUDDEN = ("covariate", "concept", "gradual")
NAMES = {
    "covariate": "covariate shift with harm",
    "concept": "concept change",
    "gradual": "gradual concept change",
    "benign": "benign covariate shift",
}


def stationary_table(results: Sequence[StationaryResult], why_not: str) -> str:
    """A row a rule: how often it alarms, or acts, where nothing changed."""
    batches = sum(one.life.batches for one in results)
    named, doubts = (
        sum(
            count for one in results for cause, count in one.life.incidents.items() if (cause == Cause.UNKNOWN) is doubt
        )
        for doubt in (False, True)
    )
    healed = [one for one in results if one.life.heals]
    rows: list[list[Any]] = [
        ["selfheal: heals", *_counted(sum(len(one.life.heals) for one in results), batches), len(healed)],
        ["selfheal: incidents with a cause", *_counted(named, batches), None],
        ["selfheal: doubts that nothing came of", *_counted(doubts, batches), None],
    ]
    for name in (KS, EVIDENTLY, ADWIN):
        marked = [one.marks[name] for one in results if name in one.marks]
        if not marked:
            rows.append([name, why_not, None, None, None])
            continue
        rate, many = clustered_share([float(np.mean(marks)) for marks in marked]), sum(map(len, marked))
        if not any(map(any, marked)):  # The spread of streams that are all alike says nothing.
            rate = share(0, many)
        rows.append([name, f"{many:,}", rate.per(1_000), rate.per(MONTH), sum(map(any, marked))])
    headers = ["rule", "batches", "alarms in 1,000 batches", "in 720 batches", f"streams with one, of {len(results)}"]
    return table(headers, rows)


def _counted(events: int, batches: int) -> list[str]:
    rate = count_rate(events, batches)
    return [f"{batches:,}", rate.per(1_000), rate.per(MONTH)]


def false_heals(results: Sequence[StationaryResult]) -> Rate:
    """A batch."""
    return count_rate(sum(len(one.life.heals) for one in results), sum(one.life.batches for one in results))


def marked_share(results: Sequence[StationaryResult], name: str) -> Rate:
    """Of the batches of streams without a change."""
    return clustered_share([float(np.mean(one.marks[name])) for one in results])


def change_table(scenarios: Sequence[Scenario], results: Sequence[ChangeResult]) -> str:
    """A row a change and lateness of labels: how many streams were healed, and after how many batches of labels."""
    rows = []
    for scenario in (one for one in scenarios if one.kind in GRADUAL_OR_SUDDEN):
        for late in LATE:
            lives = [one.lives[late] for one in results if one.place == scenario.place]
            found = [delay for life in lives if (delay := delay_of(scenario, life)) is not None]
            rows.append(
                [
                    NAMES[scenario.kind],
                    scenario.name + (", harmful" if scenario.harmful else ""),
                    f"{median(life.largest_psi for life in lives):.2f}",
                    late,
                    len(lives),
                    share(len(found), len(lives)).percent(),
                    share(sum(delay <= WITHIN for delay in found), len(lives)).percent(),
                    _delays(found),
                    _causes(lives),
                ]
            )
    headers = ["change", "loss of AUC", "largest PSI", "labels late", "streams", "healed", "within 2", "delay", "cause"]
    return table(headers, rows)


def delay_of(scenario: Scenario, life: LifeResult) -> int | None:
    """How many batches of the (harmful) change had their labels when a heal was decided; 0 or less: none had.

    None: nothing was decided, or before anything changed.
    """
    if not life.heals or life.heals[0].batch < PAST_BATCHES:
        return None
    return life.heals[0].labelled - (PAST_BATCHES + scenario.onset) + 1


def _delays(found: Sequence[int]) -> str:
    """Median and the extremes, in batches of labels."""
    return f"{median(found):g} [{min(found)}, {max(found)}]" if found else "-"


def _causes(lives: Sequence[LifeResult]) -> str:
    causes = [life.heals[0].cause for life in lives if life.heals]
    return ", ".join(f"{cause} {causes.count(cause)}" for cause in dict.fromkeys(sorted(causes))) or "-"


def baseline_table(scenarios: Sequence[Scenario], results: Sequence[ChangeResult], benign: bool) -> str:
    """A row a scenario: the share of streams that selfheal healed and that each baseline alarmed about.

    Of changes within the first two (harmful) batches; of benign shifts in all of the batches.
    """
    rows = []
    for scenario in (one for one in scenarios if (one.kind == "benign") is benign):
        own = [one for one in results if one.place == scenario.place]
        healed = [one for one in own if _healed(scenario, one, benign)]
        row: list[Any] = [NAMES[scenario.kind], scenario.name, share(len(healed), len(own)).percent()]
        for name in BASELINES:
            asked = [one.first_alarm[name] for one in own if name in one.first_alarm]
            soon = [at for at in asked if at is not None and (benign or at < scenario.onset + WITHIN)]
            row.append(f"{share(len(soon), len(asked)).percent()} of {len(asked)}" if asked else None)
        rows.append(row)
    return table(["change", "size", "selfheal", *BASELINES], rows)


def _healed(scenario: Scenario, result: ChangeResult, benign: bool) -> bool:
    """With labels in time."""
    delay = delay_of(scenario, result.lives[0])
    return delay is not None and (benign or delay <= WITHIN)


def benign_table(scenarios: Sequence[Scenario], results: Sequence[ChangeResult]) -> str:
    """A row a shift and lateness of labels: how many streams retrained, or healed otherwise."""
    rows = []
    for scenario in (one for one in scenarios if one.kind == "benign"):
        for late in LATE:
            lives = [one.lives[late] for one in results if one.place == scenario.place]
            watched = sum(Cause.BENIGN_DRIFT in life.incidents for life in lives)
            rows.append(
                [
                    scenario.name,
                    f"{scenario.drop:.3f}",
                    f"{median(life.largest_psi for life in lives):.2f}",
                    late,
                    len(lives),
                    share(sum(map(retrains, lives)), len(lives)).percent(),
                    share(sum(bool(life.heals) for life in lives), len(lives)).percent(),
                    share(watched, len(lives)).percent(),
                    _causes(lives),
                ]
            )
    headers = ["what moved", "loss of AUC", "largest PSI", "labels late", "streams", "retrained", "any heal"]
    return table([*headers, "seen as benign drift", "causes of the heals"], rows)


def retrains(life: LifeResult) -> bool:
    return any(heal.action == "retrain" for heal in life.heals)


def pooled(
    scenarios: Sequence[Scenario],
    results: Sequence[ChangeResult],
    wanted: Callable[[Scenario], bool],
    hit: Callable[[Scenario, LifeResult], bool],
    late: int,
) -> Rate:
    """The share of hits among all streams of the wanted scenarios, with labels so late."""
    by_place = {one.place: one for one in scenarios if wanted(one)}
    lives = [(by_place[one.place], one.lives[late]) for one in results if one.place in by_place]
    return share(sum(hit(scenario, life) for scenario, life in lives), len(lives))


def soon_enough(scenario: Scenario, life: LifeResult) -> bool:
    delay = delay_of(scenario, life)
    return delay is not None and delay <= WITHIN
