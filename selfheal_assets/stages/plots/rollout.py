"""Draw a rollout: its transitions in, PNG bytes of the challenger's share of the traffic out. Never judges it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from selfheal_assets.core.gates import Verdict
from selfheal_assets.core.rollout_state import Rollout
from selfheal_assets.stages.plots.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILLION,
    caption,
    new_figure,
    say,
    style,
    to_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {Verdict.PASS: GREEN, Verdict.FAIL: VERMILLION, Verdict.INCONCLUSIVE: GREY}
ROWS = (120.0, 110.0)
"""Heights of the words above the line."""
LEFT_FROM = 0.85
"""From this share of the time on a word would leave the picture."""
MARKERS = {Verdict.PASS: "o", Verdict.FAIL: "X", Verdict.INCONCLUSIVE: "s"}


def rollout_plot(transitions: Sequence[Rollout]) -> bytes:
    """PNG of the share over the minutes since the opening, with the verdict that made each transition.

    `transitions`: oldest first.
    """
    figure = new_figure(300)
    axes = figure.subplots()
    if not transitions:
        say(axes, "no rollout yet")
        return to_png(figure)
    opened = transitions[0].opened_at
    minutes = [(one.changed_at - opened).total_seconds() / 60.0 for one in transitions]
    axes.step(minutes, [100.0 * one.weight for one in transitions], where="post", color=BLUE, linewidth=1.6)
    _draw_verdicts(axes, transitions, minutes)
    _draw_states(axes, transitions, minutes)
    style(axes)
    axes.set_ylim(-6.0, 128.0)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel("minutes since it was opened", fontsize=9)
    axes.set_ylabel("challenger's share, %", fontsize=9)
    if axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside upper center", ncols=5, fontsize=8, frameon=False)
    return to_png(figure)


def _draw_verdicts(axes: "Axes", transitions: Sequence[Rollout], minutes: Sequence[float]) -> None:
    """Of the look that made the transition; an opening, and what a person did, had none."""
    named = set[Verdict]()
    for one, minute in zip(transitions, minutes, strict=True):
        if one.results and one.ended_by is None and one.paused_at is None:
            label = None if one.verdict in named else str(one.verdict)
            named.add(one.verdict)
            axes.plot(
                [minute], [100.0 * one.weight], MARKERS[one.verdict], color=COLOURS[one.verdict], markersize=7,
                label=label,
            )  # fmt: skip
        elif one.transition:
            axes.plot([minute], [100.0 * one.weight], "|", color=ORANGE, markersize=12)


def _draw_states(axes: "Axes", transitions: Sequence[Rollout], minutes: Sequence[float]) -> None:
    """Where a state begins, in words above the line: in two rows, as a shadow may be short; to the left at the end."""
    began = [
        (one.state, minute)
        for place, (one, minute) in enumerate(zip(transitions, minutes, strict=True))
        if place == 0 or one.state is not transitions[place - 1].state
    ]
    for place, (state, minute) in enumerate(began):
        to_left = place > 0 and minute > LEFT_FROM * minutes[-1]
        axes.axvline(minute, color="#CCCCCC", linewidth=0.8, zorder=0)
        axes.annotate(
            caption(state.lower()), (minute, ROWS[place % 2]), fontsize=8, color=GREY,
            xytext=(-3 if to_left else 3, 0), ha="right" if to_left else "left",
            textcoords="offset points", va="center",
        )  # fmt: skip
