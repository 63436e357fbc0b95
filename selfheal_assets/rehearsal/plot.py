"""Draw a rehearsal: the metric of the policy and its rivals by batch, and its heals; PNG bytes. Opens nothing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.causes import ABOUT_THE_METRIC, Cause
from selfheal_assets.rehearsal.rehearse import Rehearsal
from selfheal_assets.rehearsal.scoring import Score
from selfheal_assets.stages.plots.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    caption,
    new_figure,
    say,
    style,
    to_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (BLUE, GREY, ORANGE, GREEN, PURPLE, SKY)


def rehearsal_plot(rehearsal: Rehearsal, metric: str) -> bytes:
    """PNG of one history: a line a trigger (of several random draws the first), a mark where a heal took effect."""
    figure = new_figure(420)
    axes = figure.subplots()
    shown = _one_each(rehearsal.scores)
    if not any(score.metric_by_batch for score in shown):
        say(axes, "no batch was scored: the first model was never learned")
        return to_png(figure)
    _shade(axes, rehearsal)
    for colour, score in reversed(list(zip(COLOURS, shown, strict=False))):
        _draw(axes, score, colour)
    style(axes)
    axes.set_xlim(-0.5, len(rehearsal.truths) - 0.5)
    axes.set_xlabel("batch", fontsize=9)
    axes.set_ylabel(caption(metric), fontsize=9)
    axes.set_title(caption(rehearsal.history, 80), fontsize=9)
    figure.legend(loc="outside upper center", ncols=7, fontsize=8, frameon=False)
    return to_png(figure)


def _one_each(scores: Sequence[Score]) -> list[Score]:
    first: dict[str, Score] = {}
    for score in scores:
        first.setdefault(score.trigger, score)
    return list(first.values())[: len(COLOURS)]


def _draw(axes: "Axes", score: Score, colour: str) -> None:
    policy = score.trigger == "policy"
    places, values = list(score.metric_by_batch), list(score.metric_by_batch.values())
    width, order = (2.2, 4) if policy else (1.1, 3)
    look: dict[str, Any] = {"color": colour, "linewidth": width, "zorder": order}
    axes.plot(places, values, marker="o", markersize=3, label=score.trigger, **look)
    if policy:
        for place, at in enumerate(score.heals_at):
            axes.axvline(at + 0.5, color=colour, linestyle=":", linewidth=1.2, label="" if place else "policy heals")


def _shade(axes: "Axes", rehearsal: Rehearsal) -> None:
    """Behind the lines, what the truth says of each batch."""
    named = {"harmful": (VERMILLION, 0.12), "bad data": (GREY, 0.20), "benign shift": (SKY, 0.12)}
    seen = set[str]()
    for at, truth in enumerate(rehearsal.truths):
        kind = _kind(truth.cause)
        if kind is not None:
            colour, alpha = named[kind]
            axes.axvspan(at - 0.5, at + 0.5, color=colour, alpha=alpha, lw=0, label="" if kind in seen else kind)
            seen.add(kind)


def _kind(cause: Cause | None) -> str | None:
    if cause in ABOUT_THE_METRIC:
        return "harmful"
    return {Cause.BAD_DATA: "bad data", Cause.BENIGN_DRIFT: "benign shift"}.get(cause) if cause else None
