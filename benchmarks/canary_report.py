"""Write the rollout report: what became of simulated rollouts in, Markdown out. Never leaves a missed goal out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from alarms_rates import share
from canary_judges import Ended
from canary_world import BUSINESS, ERRORS, LABELLED, LABELS_AFTER, POSTED, REQUESTS, SLOW, WORSE, Scenario
from markdown import machine, table

from selfheal_assets.core.serving_spec import RolloutSpec
from selfheal_assets.core.statistics.rate_sequence import RARE, Rate, rate_difference

WORSE_GOAL, EQUAL_GOAL = 0.01, 0.05
INTRODUCTION = """\
Made by `{command}` in {minutes:.1f} minutes. Simulated traffic, {requests:,} requests a minute, and the real core:
every minute the counts go to `advance` in `core/rollout.py`, which judges them and moves the rollout. Steps, margins
and `alpha` ({alpha:g}, for all tests and looks of a rollout together) are the defaults of `rollout` in `defs.yaml`;
`require_quality` is on and `max_hours` is {hours:g}. The champion fails {errors:.0%} of the requests, {slow:.0%} are
slow, its mean business value is {business:g}, posted about {posted:.0%} of the answers; {labelled:.0%} of the rows get
a label {after} minutes later. Square brackets are 95 % intervals. *Exposed* are the requests that the challenger
answered until it was turned away, *minutes* the time until then; of one that was not, until it answered everybody or
its time was over. Both are medians, with the 95th percentile behind.

selfheal is measured with two ways of counting. *Both score every row* is what its own server does: while a rollout
runs, champion and challenger score every request, whoever answers, so a model that cannot score is found in the shadow,
before it answers anybody; these rollouts are followed to the end of the bake. *Each counted on its answers* is the
harder world of a gateway that splits the traffic: nothing shows in the shadow, and the challenger is known by its own
share alone; these are followed until the challenger answers everybody, where a gateway has nothing left to compare."""
PEERS = """\
The *fixed threshold* rejects when the mean of a step so far, of failed or slow requests or of the Brier loss, is more
than so much above the champion's, at the end of any minute with at least 200 values. *Kayenta* is the Mann-Whitney
judge as in NetflixACAJudge on points of a minute: 98 % interval of the shift, tolerance a quarter of the shift, the
direction that is worse, one group, marginal 75, pass 95. Both compare with a baseline of the challenger's own size, as
Kayenta advises. Neither has a shadow; who is not rejected in the steps of 5, 25 and 50 % answers everybody. Labels that
are not there count for nothing with both. selfheal also judges the scores and the business value, the others do not."""
MISLEADS = """\
- **Time is the price.** Tests that may be read at any time, promise their rates without approximation, share `alpha`
  among five gates and all periods, and hold though both models are counted on the same rows, need many requests. Where
  both fail {errors:.0%}, it takes {rows_common:,} rows of each to show that one is not worse by a point (a single test
  at a planned size: {rows_planned:,}; both at a power of one half). A service that fails less is decided sooner: where
  nothing fails, {rows_never:,} rows are enough. A wider margin makes a faster rollout.
- **What is not required does not hold a rollout.** Where labels come late and `require_quality` is off, a challenger
  whose scores are worse and fail nobody reaches everybody; where it is on, such a rollout runs out of time. See *labels
  a day late*.
- **A business value seldom decides.** It can reject and never holds. A few values a minute show nothing for hours, so a
  loss of five points reaches everybody: see the last table. `serving.max_business_drop` watches it afterwards.
- **Peers were not tuned, and a fixed threshold is the fastest of all** where it lies well between 0 and the loss,
  which nobody knows beforehand. The same rule turns equal challengers away by chance, and lets through what it has not
  seen. Kayenta's judge finds a shift of the typical minute where a step has some fifty points; it has no margin, so a
  shift of any size counts, and a step too short to show anything passes.
- **The world is made up.** Requests are independent and nothing moves with the time of the day. In clusters (one
  customer, many requests) every test here alarms more. In the bake the champion scores nothing: the challenger is then
  compared with the champion's counts of the same rollout, minutes to hours older, and a fault of the whole service in
  that time is taken for the challenger's.
- **An absence is not a proof.** Where nothing was seen, the upper end of the interval is the statement."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One judge on one scenario."""

    judge: str
    scenario: Scenario
    ended: tuple[Ended, ...]

    def count(self, what: str) -> int:
        return sum(getattr(one, what) for one in self.ended)


def report(cases: Sequence[Case], spec: RolloutSpec, *, required: Sequence[str], command: str, seconds: float) -> str:
    """`required`: the judges that the goals are about."""
    parts = ["# Judged rollouts, measured", _introduction(spec, command, seconds), PEERS, "## The goals"]
    parts.append(_goals(cases, required))
    for scenario in dict.fromkeys(case.scenario for case in cases):
        parts += [f"## The challenger: {scenario.name}", _table([case for case in cases if case.scenario == scenario])]
    parts += ["## What misleads", _misleads(spec), f"Measured with {machine()}."]
    return "\n\n".join(parts)


def _introduction(spec: RolloutSpec, command: str, seconds: float) -> str:
    return INTRODUCTION.format(
        command=command,
        minutes=seconds / 60.0,
        requests=REQUESTS,
        alpha=spec.alpha,
        hours=spec.max_hours,
        errors=ERRORS,
        slow=SLOW,
        business=BUSINESS,
        posted=POSTED,
        labelled=LABELLED,
        after=LABELS_AFTER,
    )


def _misleads(spec: RolloutSpec) -> str:
    planned = int(NormalDist().inv_cdf(1.0 - spec.alpha) ** 2 * 2.0 * ERRORS * (1.0 - ERRORS) / spec.error_margin**2)
    return MISLEADS.format(
        errors=ERRORS, rows_common=_rows(spec, ERRORS), rows_never=_rows(spec, 0.0), rows_planned=round(planned, -2)
    )


def _rows(spec: RolloutSpec, errors: float) -> int:
    """Of each model, in hundreds, when both fail exactly so often and the challenger passes."""
    rows = 100
    while True:
        both = Rate(errors * rows, rows)
        if rate_difference(both, both, spec.alpha, spec.alpha, RARE).high < spec.error_margin:
            return rows
        rows += 100


def _goals(cases: Sequence[Case], required: Sequence[str]) -> str:
    rows = []
    for case in cases:
        if case.judge not in required:
            continue
        trials = len(case.ended)
        if case.scenario.equal:
            found = share(case.count("rejected"), trials)
            met = found.value <= EQUAL_GOAL
            rows.append([f"{case.judge}: equal, rejected", "at most 5 %", found.percent(), _met(met)])
        elif case.scenario.labels_after == LABELS_AFTER and max(case.scenario.errors, case.scenario.brier) >= WORSE:
            found = share(case.count("reached_all"), trials)
            met = found.value <= WORSE_GOAL
            what = f"{case.judge}: {case.scenario.name}, reaches everybody"
            rows.append([what, "at most 1 %", found.percent(), _met(met)])
    return table(["goal", "wanted", "measured", "met"], rows)


def _table(cases: Sequence[Case]) -> str:
    rows = []
    for case in cases:
        trials = len(case.ended)
        undecided = sum(not one.rejected and not one.reached_all for one in case.ended)
        gates = Counter(one.gate for one in case.ended if one.gate)
        rows.append(
            [
                case.judge,
                trials,
                share(case.count("reached_all"), trials).percent(),
                share(case.count("rejected"), trials).percent(),
                undecided,
                _spread([one.exposed for one in case.ended]),
                _spread([one.minutes for one in case.ended]),
                ", ".join(f"{gate} {count}" for gate, count in gates.most_common()) or "-",
            ]
        )
    return table(
        ["judge", "rollouts", "answers everybody", "rejected", "undecided", "exposed", "minutes", "rejected by"], rows
    )


def _spread(values: Sequence[int]) -> str:
    return f"{np.median(values):,.0f} ({np.quantile(values, 0.95):,.0f})"


def _met(met: bool) -> str:
    return "yes" if met else "**no**"
