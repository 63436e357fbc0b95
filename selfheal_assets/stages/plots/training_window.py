"""Draw which batches a candidate learned from: rows by batch in, PNG bytes of a strip out. Never selects a row."""

from typing import TYPE_CHECKING

from selfheal_assets.stages.plots.canvas import (
    BLUE,
    GREY,
    ORANGE,
    batch_ticks,
    caption,
    new_figure,
    say,
    style,
    to_png,
)

if TYPE_CHECKING:
    import pandas as pd

BATCHES = 60
_FIRST = ("train", "holdout")
_STYLES = ((BLUE, ""), (ORANGE, "///"), (GREY, "..."))


def training_window_plot(counts: "pd.DataFrame") -> bytes:
    """PNG of the newest sixty batches as stacked bars.

    `counts` has one row a batch, oldest first, indexed by batch id, and one column of row counts a use: `train`,
    `holdout`, and any other.
    """
    figure = new_figure(240)
    axes = figure.subplots()
    shown = counts.iloc[-BATCHES:].fillna(0)
    uses = [use for use in dict.fromkeys((*_FIRST, *shown.columns)) if use in shown and shown[use].any()]
    if not uses:
        say(axes, "no rows to learn from")
        return to_png(figure)
    base = [0] * len(shown)
    for use in uses:
        colour, hatch = _STYLES[_FIRST.index(use) if use in _FIRST else 2]
        rows = [int(count) for count in shown[use]]
        axes.bar(
            range(len(shown)), rows, 0.8, bottom=base, color=colour, hatch=hatch, edgecolor="white",
            label=caption(f"{use}: {sum(rows):,} rows"),
        )  # fmt: skip
        base = [below + more for below, more in zip(base, rows, strict=True)]
    style(axes)
    batch_ticks(axes, [str(batch_id) for batch_id in shown.index])
    axes.set_xlim(-0.6, len(shown) - 0.4)
    axes.set_ylabel("rows", fontsize=9)
    axes.locator_params(axis="y", nbins=4)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return to_png(figure)
