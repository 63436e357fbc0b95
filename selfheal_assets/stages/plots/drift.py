"""Draw a drift assessment: one panel a feature, and the score's distribution. Never tests or judges anything."""

from typing import TYPE_CHECKING, Any

from selfheal_assets.core.drift import DriftAssessment
from selfheal_assets.core.drift_feature import FeatureDrift
from selfheal_assets.stages.drift_frames import column_values
from selfheal_assets.stages.plots.canvas import (
    GREY,
    STATUS_COLOURS,
    caption,
    new_figure,
    say,
    style,
    to_png,
)
from selfheal_assets.stages.plots.distributions import draw_categories, draw_numbers

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 12
PANELS_A_ROW = 3
ROW_PX = 190
HEAD_PX = 60
PANEL_MARGINS = (80, 15, 70, 55)
PANEL_GAPS = {"hspace": 0.62, "wspace": 0.42}
"""Shares of a panel: room for two lines of title and for the names of categories."""


def drift_plot(assessment: DriftAssessment, reference: "pd.DataFrame", batch: "pd.DataFrame") -> bytes:
    """PNG of the twelve most drifted features, reference against batch; titles say status, PSI and adjusted p."""
    shown = assessment.features[:PANELS]
    rows = max(-(-len(shown) // PANELS_A_ROW), 1)
    figure = new_figure(HEAD_PX + ROW_PX * rows, PANEL_MARGINS)
    panels = figure.subplots(rows, PANELS_A_ROW, squeeze=False, gridspec_kw=PANEL_GAPS).ravel()
    for axes, feature in zip(panels, shown, strict=False):
        draw = draw_categories if feature.categorical else draw_numbers
        draw(axes, *(column_values(frame, feature.feature, feature.categorical) for frame in (reference, batch)))
        _frame(axes, feature)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    if not shown:
        say(panels[0], "no features")
    left_out = len(assessment.features) - len(shown)
    beside = f", the {len(shown)} most drifted of {len(assessment.features)}" if left_out else ""
    _head(figure, panels, f"{assessment.status}: {assessment.rows:,} rows against the reference{beside}")
    return to_png(figure)


def score_plot(assessment: DriftAssessment, reference: "np.ndarray", batch: "np.ndarray") -> bytes:
    """PNG of the champion's scores (n,) on the reference and (m,) on the batch, with the verdict on them."""
    figure = new_figure(320, (70, 15, 30, 50))
    axes = figure.subplots()
    draw_numbers(axes, reference, batch, bins=50)
    style(axes)
    axes.set_xlabel("score of the champion", fontsize=9)
    axes.set_ylabel("share of rows", fontsize=9)
    for feature in assessment.features[:1]:
        axes.set_title(f"score: {_verdict(feature)}", fontsize=10, loc="left", color=STATUS_COLOURS[feature.status])
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
    return to_png(figure)


def _frame(axes: "Axes", feature: FeatureDrift) -> None:
    colour = GREY if feature.weighted_out else STATUS_COLOURS[feature.status]
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(colour)
    axes.tick_params(labelsize=7)
    axes.set_title(f"{caption(feature.feature, 34)}\n{_verdict(feature)}", fontsize=8, loc="left", color=colour)
    before, after = feature.missing_reference or 0.0, feature.missing_batch or 0.0
    if before or after:
        axes.set_xlabel(f"missing {before:.1%} in the reference, {after:.1%} here", fontsize=7)


def _verdict(feature: FeatureDrift) -> str:
    parts = [str(feature.status)]
    parts.append("psi unknown" if feature.psi is None else f"psi {feature.psi:.2f}")
    parts.append("p unknown" if feature.adjusted_p is None else f"p {feature.adjusted_p:.1g}")
    return "  ".join([*parts, "(not counted)"] if feature.weighted_out else parts)


def _head(figure: "Figure", panels: Any, text: str) -> None:
    figure.suptitle(text, fontsize=10, x=0.01, ha="left")
    for axes in panels:
        handles, names = axes.get_legend_handles_labels()
        if handles:
            figure.legend(handles, names, loc="lower center", ncols=2, fontsize=8, frameon=False)
            return
