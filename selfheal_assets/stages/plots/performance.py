"""Draw a champion's realised metric over batches: evidence in, PNG bytes out. Never computes a metric."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

from selfheal_assets.core.evidence import Evidence, Status
from selfheal_assets.stages.plots.canvas import (
    BLUE,
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

BATCHES = 60
_UNKNOWN = float("nan")


def performance_plot(
    metric: str,
    evidence: Sequence[Evidence],
    batch_id: str,
    interval: tuple[float, float] | None,
    champion_metric: float | None = None,
) -> bytes:
    """PNG of the metric over the newest sixty of `evidence` (oldest first), each against its own threshold.

    `interval` is that of the batch `batch_id`, which is the one reported on; `champion_metric` the one the champion
    reached on its holdout.
    """
    figure = new_figure(340)
    axes = figure.subplots()
    shown = list(evidence)[-BATCHES:]
    values = [_number(one.value) for one in shown]
    if not any(map(isfinite, values)):
        say(axes, f"{caption(metric)}: not measured on any batch yet")
        return to_png(figure)
    axes.plot(range(len(shown)), values, color="#BBBBBB", linewidth=1.0, zorder=1)
    _draw_limits(axes, shown, champion_metric)
    for status in Status:
        places = [place for place, one in enumerate(shown) if one.status is status and isfinite(values[place])]
        _draw_points(axes, status, places, [values[place] for place in places])
    _draw_interval(axes, interval, [place for place, one in enumerate(shown) if one.batch_id == batch_id])
    _draw_unmeasured(axes, [place for place, value in enumerate(values) if not isfinite(value)])
    style(axes)
    batch_ticks(axes, [one.batch_id for one in shown])
    axes.set_xlim(-0.6, len(shown) - 0.4)
    axes.set_ylabel(caption(metric), fontsize=9)
    figure.legend(loc="outside upper center", ncols=7, fontsize=8, frameon=False)
    return to_png(figure)


def _draw_limits(axes: "Axes", evidence: Sequence[Evidence], champion_metric: float | None) -> None:
    """The threshold steps where another champion took over."""
    heights = [_number(one.threshold) for one in evidence]
    if any(map(isfinite, heights)):
        axes.step(
            range(len(heights)), heights, where="mid", color=VERMILLION, linestyle="--", linewidth=1.3,
            label="threshold of harm",
        )  # fmt: skip
    if isfinite(_number(champion_metric)):
        axes.axhline(_number(champion_metric), color=BLUE, linewidth=1.3, label="champion on its holdout")


def _draw_points(axes: "Axes", status: Status, places: Sequence[int], values: Sequence[float]) -> None:
    if places:
        axes.plot(places, values, STATUS_MARKERS[status], color=STATUS_COLOURS[status], markersize=6, label=str(status))


def _draw_interval(axes: "Axes", interval: tuple[float, float] | None, places: Sequence[int]) -> None:
    if interval and places and all(map(isfinite, interval)):
        low, high = interval
        axes.errorbar(
            places[-1:], [(low + high) / 2], yerr=[(high - low) / 2], fmt="none", color="#333333", capsize=4,
            label="interval of this batch",
        )  # fmt: skip


def _draw_unmeasured(axes: "Axes", places: Sequence[int]) -> None:
    """Marks on the lower edge: a batch that was not measured is not one that is well."""
    if places:
        axes.plot(
            places, [0.03] * len(places), "s", color=STATUS_COLOURS[Status.UNKNOWN], markersize=5, fillstyle="none",
            transform=axes.get_xaxis_transform(), label="not measured",
        )  # fmt: skip


def _number(value: float | None) -> float:
    """NaN, which is not drawn, for what is not known or not finite."""
    return float(value) if value is not None and isfinite(value) else _UNKNOWN
