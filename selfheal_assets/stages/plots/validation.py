"""Draw a candidate's judgement: holdout scores and gate results in, PNG bytes out. Never passes or fails a gate."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING

from selfheal_assets.core.gates import GateResult, Verdict, overall
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
    import numpy as np
    from matplotlib.axes import Axes

COMPARISON = "not_worse_than_champion"
VERDICT_COLOURS = {Verdict.PASS: GREEN, Verdict.FAIL: VERMILLION, Verdict.INCONCLUSIVE: GREY}
VERDICT_MARKERS = {Verdict.PASS: "o", Verdict.FAIL: "X", Verdict.INCONCLUSIVE: "s"}
_REASON_LENGTH = 110


def validation_plot(
    gates: Sequence[GateResult], label: "np.ndarray", challenger: "np.ndarray", champion: "np.ndarray | None"
) -> bytes:
    """PNG of ROC and reliability curves on the holdout (n,), the difference with its interval, and every gate."""
    scores = {"challenger": challenger} if champion is None else {"challenger": challenger, "champion": champion}
    figure = new_figure(310 + 22 * max(len(gates), 1))
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=[270, 40 + 22 * max(len(gates), 1)])[:, 0]
    roc, reliability, difference = top.subplots(1, 3)
    _draw_roc(roc, label, scores)
    _draw_reliability(reliability, label, scores)
    _draw_difference(difference, gates)
    for axes, title in ((roc, "ROC"), (reliability, "reliability"), (difference, "challenger less champion")):
        style(axes)
        axes.set_title(title, fontsize=9, loc="left")
    _draw_gates(bottom.subplots(), gates)
    return to_png(figure)


def _usable(label: "np.ndarray", scores: "np.ndarray") -> "tuple[np.ndarray, np.ndarray] | None":
    """The rows with a label and a finite score, or None when they do not hold both classes."""
    import numpy as np

    truth, score = np.asarray(label, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    rows = np.isin(truth, (0.0, 1.0)) & np.isfinite(score)
    return (truth[rows], score[rows]) if len(set(truth[rows].tolist())) == 2 else None


def _draw_roc(axes: "Axes", label: "np.ndarray", scores: "Mapping[str, np.ndarray]") -> None:
    from sklearn.metrics import auc, roc_curve

    for (name, score), (colour, line) in zip(scores.items(), ((ORANGE, "-"), (BLUE, "--")), strict=False):
        usable = _usable(label, score)
        if usable is None:
            say(axes, "not defined: one class only,\nor no finite scores")
            return
        false_positive, true_positive, _ = roc_curve(*usable)
        shown = f"{name}, AUC {auc(false_positive, true_positive):.3f}"
        axes.plot(false_positive, true_positive, color=colour, linestyle=line, linewidth=1.6, label=shown)
    axes.plot([0, 1], [0, 1], color="#BBBBBB", linewidth=0.8)
    axes.set_xlabel("false positive rate", fontsize=8)
    axes.set_ylabel("true positive rate", fontsize=8)
    axes.legend(fontsize=8, frameon=False, loc="lower right")


def _draw_reliability(axes: "Axes", label: "np.ndarray", scores: "Mapping[str, np.ndarray]") -> None:
    from sklearn.calibration import calibration_curve

    top = 0.0
    styles = ((ORANGE, "o-"), (BLUE, "s--"))
    for (name, score), (colour, line) in zip(scores.items(), styles, strict=False):
        usable = _usable(label, score)
        if usable is None or not 0.0 <= usable[1].min() <= usable[1].max() <= 1.0:
            say(axes, "not defined: one class only,\nor scores that are not probabilities")
            return
        observed, predicted = calibration_curve(*usable, n_bins=10, strategy="quantile")
        top = max(top, float(observed.max()), float(predicted.max()))
        axes.plot(predicted, observed, line, color=colour, linewidth=1.4, markersize=4, label=name)
    axes.plot([0, top], [0, top], color="#BBBBBB", linewidth=0.8)
    axes.set_xlabel("mean score, ten bins of equal mass", fontsize=8)
    axes.set_ylabel("share of label 1", fontsize=8)
    axes.legend(fontsize=8, frameon=False, loc="upper left")


def _draw_difference(axes: "Axes", gates: Sequence[GateResult]) -> None:
    result = next((gate for gate in gates if gate.name == COMPARISON), None)
    if result is None or result.value is None or not isfinite(result.value):
        say(axes, "nothing to compare")
        return
    colour = VERDICT_COLOURS[result.verdict]
    low, high = result.interval or (result.value, result.value)
    if not isfinite(low) or not isfinite(high):
        say(axes, f"{result.value:+.4f}, without an interval")
        return
    axes.axvline(0.0, color="#BBBBBB", linewidth=0.8)
    if result.threshold is not None:
        axes.axvline(result.threshold, color=VERMILLION, linestyle="--", linewidth=1.3)
        words = f"margin {result.threshold:+g}"
        axes.text(result.threshold, 0.12, words, fontsize=8, color=VERMILLION, backgroundcolor="white")
    axes.plot([low, high], [0.5, 0.5], color=colour, linewidth=3, solid_capstyle="butt")
    axes.plot([result.value], [0.5], VERDICT_MARKERS[result.verdict], color=colour, markersize=9)
    axes.text(
        (low + high) / 2, 0.58, f"{result.value:+.4f}\n[{low:+.4f}, {high:+.4f}]", ha="center", fontsize=8, color=colour
    )
    axes.set_ylim(0.0, 1.0)
    axes.margins(x=0.25)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel("difference of the metric, higher is better", fontsize=8)


def _draw_gates(axes: "Axes", gates: Sequence[GateResult]) -> None:
    axes.set_axis_off()
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(max(len(gates), 1) - 0.4, -1.4)
    verdict = overall(gates)
    axes.text(0.0, -0.95, f"gate: {verdict}", fontsize=10, weight="bold", color=VERDICT_COLOURS[verdict], va="center")
    if not gates:
        axes.text(0.0, 0.0, "no gate was evaluated", fontsize=8, color=GREY, va="center")
    for row, gate in enumerate(gates):
        colour = VERDICT_COLOURS[gate.verdict]
        axes.plot([0.008], [row], VERDICT_MARKERS[gate.verdict], color=colour, markersize=7, clip_on=False)
        axes.text(0.022, row, str(gate.verdict), fontsize=8, color=colour, va="center")
        axes.text(0.125, row, caption(gate.name, 28), fontsize=8, va="center")
        axes.text(0.325, row, caption(gate.reason, _REASON_LENGTH), fontsize=7.5, color="#444444", va="center")
