"""Draw a study: trials in, PNG bytes of scores in order out. Never reads Optuna's storage."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.model_spec import MetricName
from selfheal_assets.core.statistics.metrics import higher_is_better
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

WINDOW_STYLES = tuple(zip((BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION), ("o", "^", "s", "D", "v", "P"), strict=True))


def tuning_plot(trials: Sequence[Mapping[str, Any]], metric: MetricName) -> bytes:
    """PNG of the finished trials' scores by window, the best so far, and the others along the bottom."""
    figure = new_figure(340)
    axes = figure.subplots()
    finished = [trial for trial in trials if trial.get("state") == "COMPLETE" and _has_score(trial)]
    if not finished:
        say(axes, f"none of {len(trials)} trials finished")
        return to_png(figure)
    _draw_best(axes, finished, metric)
    windows = sorted({trial.get("window") or 0 for trial in finished})
    for place, window in enumerate(windows):
        colour, marker = WINDOW_STYLES[place % len(WINDOW_STYLES)]
        chosen = [trial for trial in finished if (trial.get("window") or 0) == window]
        axes.scatter(
            [trial["number"] for trial in chosen], [trial["score"] for trial in chosen], s=36, color=colour,
            marker=marker, label=caption(f"window of {window} batches"), zorder=3,
        )  # fmt: skip
    _draw_unfinished(axes, [trial for trial in trials if trial not in finished])
    style(axes)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("trial", fontsize=9)
    axes.set_ylabel(f"{metric} on the tuning rows", fontsize=9)
    figure.legend(loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    return to_png(figure)


def _has_score(trial: Mapping[str, Any]) -> bool:
    return isinstance(trial.get("score"), int | float) and isfinite(trial["score"])


def _draw_best(axes: "Axes", finished: Sequence[Mapping[str, Any]], metric: MetricName) -> None:
    import numpy as np

    ordered = sorted(finished, key=lambda trial: trial["number"])
    better = np.maximum if higher_is_better(metric) else np.minimum
    best = better.accumulate([float(trial["score"]) for trial in ordered])
    label = f"best so far: {best[-1]:.4f}"
    axes.step([trial["number"] for trial in ordered], best, where="post", color="#333333", linewidth=1.4, label=label)


def _draw_unfinished(axes: "Axes", trials: Sequence[Mapping[str, Any]]) -> None:
    """Marks on the lower edge, whatever the scale of the scores is."""
    for state in sorted({str(trial.get("state")) for trial in trials}):
        numbers = [trial.get("number", 0) for trial in trials if str(trial.get("state")) == state]
        axes.plot(
            numbers, [0.02] * len(numbers), "x" if state == "PRUNED" else "1", color=GREY, markersize=6,
            transform=axes.get_xaxis_transform(), label=caption(f"{state.lower()}: {len(numbers)}"),
        )  # fmt: skip
