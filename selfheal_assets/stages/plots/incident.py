"""Draw an incident's life on the metric of its batches: a case file in, PNG bytes out. Never computes a metric."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

from selfheal_assets.core.causes import TOUCHES_PRODUCTION
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.incident import IncidentState
from selfheal_assets.stages.plots.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    STATUS_COLOURS,
    STATUS_MARKERS,
    VERMILLION,
    batch_ticks,
    caption,
    new_figure,
    say,
    style,
    to_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from selfheal_assets.stages.case_file import CaseFile

BEFORE, AFTER = 12, 12
"""Batches around those of the incident."""


def incident_plot(case: "CaseFile") -> bytes:
    """PNG of the metric by batch, with the incident's batches shaded, and its onset, actions and recovery marked.

    Hollow marks are estimates: the labels of those batches have not come.
    """
    figure = new_figure(340)
    axes = figure.subplots()
    shown = _shown(case)
    if not shown:
        say(axes, f"{caption(case.metric)}: not measured on any batch around this incident")
        return to_png(figure)
    axes.plot(range(len(shown)), [_number(e.value) for e in shown], color="#BBBBBB", linewidth=1.0, zorder=1)
    _draw_points(axes, shown)
    _draw_limits(axes, case, shown)
    _draw_story(axes, case, [e.batch_id for e in shown])
    style(axes)
    batch_ticks(axes, [e.batch_id for e in shown])
    axes.set_xlim(-0.6, len(shown) - 0.4)
    axes.set_ylabel(caption(case.metric), fontsize=9)
    figure.legend(loc="outside upper center", ncols=5, fontsize=8, frameon=False)
    return to_png(figure)


def _shown(case: "CaseFile") -> Sequence[Evidence]:
    """From some batches before the incident's first to some after its last; the newest where it has none of them."""
    history = [e for e in case.history if isfinite(_number(e.value))]
    own = {case.incident.began_at, *case.incident.batch_ids}
    places = [place for place, e in enumerate(history) if e.batch_id in own]
    if not places:
        return history[-(BEFORE + AFTER) :]
    # Of one that went on for very long, the end is shown.
    first, last = max(0, places[0] - BEFORE), places[-1] + AFTER + 1
    return history[first:last][-5 * BEFORE :]


def _draw_points(axes: "Axes", shown: Sequence[Evidence]) -> None:
    named = set[Status]()
    for place, e in enumerate(shown):
        label = None if e.status in named else str(e.status)
        named.add(e.status)
        hollow = "none" if e.signal is Signal.ESTIMATED_PERFORMANCE else "full"
        axes.plot(
            [place], [_number(e.value)], STATUS_MARKERS[e.status], color=STATUS_COLOURS[e.status], markersize=6,
            fillstyle=hollow, label=label,
        )  # fmt: skip


def _draw_limits(axes: "Axes", case: "CaseFile", shown: Sequence[Evidence]) -> None:
    heights = [_number(e.threshold) for e in shown]
    if any(map(isfinite, heights)):
        axes.step(
            range(len(heights)), heights, where="mid", color=VERMILLION, linestyle="--", linewidth=1.2,
            label="threshold of harm",
        )  # fmt: skip
    if isfinite(_number(case.incident.before)):
        axes.axhline(_number(case.incident.before), color=BLUE, linewidth=1.0, label="champion on its holdout")


def _draw_story(axes: "Axes", case: "CaseFile", batches: Sequence[str]) -> None:
    own = [place for place, batch in enumerate(batches) if batch in case.incident.batch_ids]
    if own:
        axes.axvspan(own[0] - 0.5, own[-1] + 0.5, color=GREY, alpha=0.12, linewidth=0, label="its batches")
    if case.incident.began_at in batches:
        axes.axvline(
            batches.index(case.incident.began_at), color=PURPLE, linestyle=":", linewidth=1.6, label="most likely onset"
        )
    for number, (action, batch) in enumerate(_actions(case)):
        if batch in batches:
            place = batches.index(batch) + 0.5
            axes.axvline(place, color=ORANGE, linewidth=1.6, label=None if number else "action")
            axes.annotate(
                caption(action), (place, 0.02 + 0.08 * (number % 4)), xycoords=("data", "axes fraction"), fontsize=8,
                color=ORANGE, xytext=(3, 0), textcoords="offset points",
            )  # fmt: skip
    recovered = [e.batch_id for e in case.after if e.status is Status.CLEAR and e.batch_id in batches]
    if case.incident.state is IncidentState.RESOLVED and recovered:
        axes.axvline(batches.index(recovered[0]), color=GREEN, linestyle="-.", linewidth=1.6, label="recovery")


def _actions(case: "CaseFile") -> list[tuple[str, str]]:
    """What touched production, each with the newest batch that was known when it was decided."""
    healing = [i for i in case.transitions if i.state is IncidentState.HEALING and i.tried and i.batch_ids]
    return [(i.tried[-1].action, i.batch_ids[-1]) for i in healing if i.tried[-1].action in TOUCHES_PRODUCTION]


def _number(value: float | None) -> float:
    """NaN, which is not drawn, for what is not known or not finite."""
    return float(value) if value is not None and isfinite(value) else float("nan")
