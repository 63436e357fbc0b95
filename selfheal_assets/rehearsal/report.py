"""Turn rehearsals into a table and JSON: scores in, figures for people and programs out. Never plays or prints."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import isfinite
from statistics import fmean
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.causes import ABOUT_THE_METRIC, Cause
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.statistics.metrics import higher_is_better
from selfheal_assets.rehearsal.rehearse import Rehearsal
from selfheal_assets.rehearsal.scoring import Score

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS: dict[str, Callable[[Score], float]] = {
    "mean metric": lambda s: s.mean_metric,
    "retrains": lambda s: s.retrains,
    "changes": lambda s: s.changes,
    "training s": lambda s: s.training_seconds,
    "false heals": lambda s: s.false_heals,
    "missed heals": lambda s: s.missed_heals,
    "cost": lambda s: s.cost,
}


def figures(rehearsals: Sequence[Rehearsal]) -> dict[str, dict[str, float]]:
    """Trigger to the mean of each column over histories and draws; the policy first."""
    by_trigger: dict[str, list[Score]] = {}
    for rehearsal in rehearsals:
        for score in rehearsal.scores:
            by_trigger.setdefault(score.trigger, []).append(score)
    return {
        trigger: {name: _mean([float(column(s)) for s in found]) for name, column in COLUMNS.items()}
        for trigger, found in by_trigger.items()
    }


def _mean(values: Sequence[float]) -> float:
    """Over what could be measured; NaN where nothing could."""
    known = [value for value in values if isfinite(value)]
    return fmean(known) if known else float("nan")


def report_table(spec: ModelSpec, rehearsals: Sequence[Rehearsal]) -> "Table":
    """One row a trigger, means over the histories."""
    from rich.table import Table

    episodes = sum(r.scores[0].episodes for r in rehearsals)
    batches = sum(len(r.truths) for r in rehearsals)
    table = Table(
        title=f"{spec.name}: {len(rehearsals)} histories, {batches} batches, {episodes} harmful episodes",
        caption="means a history; false: made though nothing was harmed; missed: harmed and nothing took effect",
    )
    names = [spec.performance.metric if name == "mean metric" else name for name in COLUMNS]
    for name in ("trigger", *names):
        table.add_column(name, justify="left" if name == "trigger" else "right")
    declared = spec.cost.value_per_unit_day or spec.cost.compute_per_hour or spec.cost.per_heal
    for trigger, row in figures(rehearsals).items():
        table.add_row(trigger, *(_cell(name, value, bool(declared)) for name, value in row.items()))
    return table


def _cell(name: str, value: float, declared: bool) -> str:
    if not isfinite(value):
        return "not measured"
    if name == "cost":
        return f"{value:.2f}" if declared else "not declared"
    return f"{value:.4f}" if name == "mean metric" else f"{value:.1f}"


def verdict(spec: ModelSpec, rehearsals: Sequence[Rehearsal]) -> str:
    """One sentence: what the policy is worth beside retraining as often at random."""
    found = figures(rehearsals)
    if "random" not in found or not isfinite(found["random"]["mean metric"]):
        return "Without the rival `random` nobody knows whether the policy's moments are better than any others."
    gain = found["policy"]["mean metric"] - found["random"]["mean metric"]
    gain = gain if higher_is_better(spec.performance.metric) else -gain
    word = "better" if gain >= 0 else "worse"
    figure = f"{abs(gain):.4f} {spec.performance.metric} {word}"
    return f"With as many retrainings, the policy's moments are {figure} than random ones."


def incidents(rehearsals: Sequence[Rehearsal]) -> dict[str, int]:
    """How many of each cause the policy opened, over all histories."""
    counts: dict[str, int] = {}
    for rehearsal in rehearsals:
        for incident in rehearsal.plays[0].incidents:
            counts[str(incident.cause)] = counts.get(str(incident.cause), 0) + 1
    return counts


def as_json(spec: ModelSpec, rehearsals: Sequence[Rehearsal], **settings: Any) -> dict[str, Any]:
    """Everything that was counted, with what it was counted over."""
    return {
        "model": spec.name,
        "policy": spec.fingerprint(),
        "settings": settings,
        "means": figures(rehearsals),
        "incidents": incidents(rehearsals),
        "histories": [
            {
                "history": r.history,
                "faults": [truth.fault for truth in r.truths],
                "harmful": [at for at, truth in enumerate(r.truths) if truth.cause in ABOUT_THE_METRIC],
                "bad_data": [at for at, truth in enumerate(r.truths) if truth.cause is Cause.BAD_DATA],
                "scores": [asdict(score) for score in r.scores],
                "heals": [{**asdict(heal), "batch_ids": list(heal.batch_ids)} for heal in r.plays[0].heals],
            }
            for r in rehearsals
        ],
    }
