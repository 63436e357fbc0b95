"""Write the alarm report: results in, Markdown out. Never runs a stream, and never leaves a missed goal out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from alarms_calibration import RISK_BATCHES, holdout_rows
from alarms_evidently import EVIDENTLY as EVIDENTLY_VERSION
from alarms_home import declared
from alarms_prose import BASELINES, CHANGES, INTRODUCTION, MISLEADS, RATES, STATIONARY
from alarms_rates import Rate, share
from alarms_scenarios import HARMFUL_DROP, LATE, Scenario
from alarms_streams import ChangeResult, StationaryResult
from alarms_tables import (
    MONTH,
    WITHIN,
    baseline_table,
    benign_table,
    change_table,
    false_heals,
    marked_share,
    pooled,
    retrains,
    soon_enough,
    stationary_table,
)
from alarms_world import BATCH_ROWS, CATEGORICAL, COLUMNS, PRIOR, Regime, true_metric
from markdown import machine, table

NEAR = 0.2
"""A measured rate within this of the configured one is near enough."""


@dataclass
class Results:
    """Everything that was measured."""

    stationary: list[StationaryResult] = field(default_factory=list)
    changes: list[ChangeResult] = field(default_factory=list)
    rates: dict[str, tuple[int, int]] = field(default_factory=dict)
    """(raised, draws) by claim."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A configured rate beside the measured one."""

    what: str
    setting: str
    configured: float | None
    measured: Rate
    exact: bool
    """The test promises the rate itself, and not only a limit to it."""

    @property
    def verdict(self) -> str:
        if self.configured is None:
            return "-"
        if self.exact:
            return f"{self.measured.value / self.configured - 1.0:+.0%}"
        return "within the limit" if self.measured.low <= self.configured else "above the limit"


def report(
    scenarios: Sequence[Scenario], results: Results, why_not: str, detector: str, command: str, seconds: float
) -> str:
    claims = _claims(results)
    parts = [
        "# Honest alarms: how often for nothing, how soon for something",
        _introduction(detector, command, seconds),
        "## The goals",
        _goals(scenarios, results, claims),
        "## Nothing changes",
        stationary_table(results.stationary, why_not),
        STATIONARY,
        "## Rates that are configured, and rates that are measured",
        table(
            ["rate", "setting", "configured", "measured", "against it"],
            [
                [
                    one.what,
                    one.setting,
                    "-" if one.configured is None else f"{100 * one.configured:g} %",
                    one.measured.percent(),
                    one.verdict,
                ]
                for one in claims
            ],
        ),
        RATES,
        "## Something changes",
        change_table(scenarios, results.changes),
        CHANGES,
        "## The same streams, by what most teams begin with",
        baseline_table(scenarios, results.changes, benign=False),
        BASELINES,
        "## A shift that does no harm",
        benign_table(scenarios, results.changes),
        "Share of the same streams with a heal, or with an alarm, in any of the shifted batches:",
        baseline_table(scenarios, results.changes, benign=True),
        "## What misleads",
        MISLEADS,
        _versions(),
    ]
    return "\n\n".join(parts)


def _introduction(detector: str, command: str, seconds: float) -> str:
    return INTRODUCTION.format(
        command=command,
        minutes=f"{seconds / 60.0:.0f}",
        metric=f"{true_metric(Regime()):.3f}",
        prior=f"{PRIOR:g}",
        rows=f"{BATCH_ROWS:,}",
        features=len(COLUMNS),
        categories=len(CATEGORICAL),
        detector=detector,
    )


def _goals(scenarios: Sequence[Scenario], results: Results, claims: Sequence[Claim]) -> str:
    heals = false_heals(results.stationary)
    exact = [one for one in claims if one.exact and one.configured]
    far = max(exact, key=lambda one: abs(one.measured.value / (one.configured or 1.0) - 1.0))
    rows = [
        [
            "false heals in 720 batches with 20 features",
            "at most 1",
            heals.per(MONTH),
            _met(heals.value * MONTH <= 1.0),
        ],
        [
            "exact tests: measured rate against the configured one",
            "within 20 %",
            f"{far.verdict} at most ({far.what})",
            _met(abs(far.measured.value / (far.configured or 1.0) - 1.0) <= NEAR),
        ],
    ]
    for late in LATE:
        soon = pooled(scenarios, results.changes, lambda one: one.harmful, soon_enough, late)
        what = f"harmful changes healed within {WITHIN} batches of labels, labels {late} late"
        rows.append([what, "95 %", soon.percent(), _met(soon.value >= 0.95)])
    for late in LATE:
        needless = pooled(
            scenarios, results.changes, lambda one: one.kind == "benign", lambda _, life: retrains(life), late
        )
        what = f"benign shifts that retrain, labels {late} late"
        rows.append([what, "at most 5 %", needless.percent(), _met(needless.value <= 0.05)])
    harmful = (
        f"Harmful: the champion loses at least {HARMFUL_DROP:.2f} of AUC, twice what `performance.max_drop` bears. A "
        "goal is met by the measured value; its interval says how sure that is."
    )
    return f"{table(['goal', 'wanted', 'measured', 'met'], rows)}\n\n{harmful}"


def _met(met: bool) -> str:
    return "yes" if met else "**no**"


def _claims(results: Results) -> list[Claim]:
    spec = declared(CATEGORICAL, "scipy")
    p, alpha = spec.drift.p_threshold, spec.performance.alpha
    one_sided = (1.0 - spec.performance.confidence) / 2.0
    found = {name: share(*counts) for name, counts in results.rates.items()}
    world: Mapping[str, Rate] = {
        name: marked_share(results.stationary, name)
        for name in ("corrected", "drift", "performance", "prior", "covered")
    }
    drawn, held = "drift.p_threshold", f"holdout of {holdout_rows(spec)} rows"
    limit = "performance RAISED, the loss exactly max_drop"
    rows = (
        ("some corrected p-value, 20 independent features", drawn, p, found["corrected"], True),
        ("some uncorrected p-value, the same features", "-", None, found["uncorrected"], False),
        ("some corrected p-value, the streams above", drawn, p, world["corrected"], False),
        ("drift RAISED (p-value and PSI), the streams above", drawn, p, world["drift"], False),
        (f"{limit}, true metric", "performance.confidence", one_sided, found["limit, true metric"], True),
        (f"{limit}, {held}", "performance.confidence", None, found["limit, holdout metric"], False),
        (
            f"performance RAISED, a loss of {HARMFUL_DROP:g}, true metric",
            "-",
            None,
            found["harmful, true metric"],
            False,
        ),
        (f"performance RAISED, a loss of {HARMFUL_DROP:g}, {held}", "-", None, found["harmful, holdout metric"], False),
        (f"performance RAISED, no loss, {held}", "-", None, found["unchanged, holdout metric"], False),
        ("label share: interval without 0", drawn, p, found["interval"], True),
        ("label share RAISED (and moved by min_prior_move)", drawn, p, found["raised"], False),
        (
            f"risk alarm in {RISK_BATCHES} batches at the tolerated risk",
            "performance.alpha",
            alpha,
            found["risk"],
            False,
        ),
        (
            "estimate's interval misses the realised metric",
            "performance.confidence",
            1.0 - spec.performance.confidence,
            _complement(world["covered"]),
            False,
        ),
    )
    return [
        Claim(what=what, setting=setting, configured=configured, measured=measured, exact=exact)
        for what, setting, configured, measured, exact in rows
    ]


def _complement(rate: Rate) -> Rate:
    return Rate(1.0 - rate.value, 1.0 - rate.high, 1.0 - rate.low)


def _versions() -> str:
    others = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "river"))
    return f"{machine()}, {others}, evidently {EVIDENTLY_VERSION} (in an environment of its own)"
