"""Draw one column of reference and batch into axes: shares by bin or by category. Never judges the difference."""

from collections import Counter
from typing import TYPE_CHECKING

from selfheal_assets.stages.plots.canvas import BLUE, ORANGE, caption, finite, say

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

CATEGORIES_SHOWN = 7


def draw_numbers(axes: "Axes", reference: "np.ndarray", batch: "np.ndarray", bins: int = 30) -> None:
    """Histograms over shared bins; the outermost bins hold everything beyond the 0.5th and 99.5th percentiles."""
    import numpy as np

    sides = finite(reference), finite(batch)
    pooled = np.concatenate([_bulk(side) for side in sides])
    if not len(pooled):
        say(axes, "no values")
        return
    edges = np.linspace(*_limits(pooled), bins + 1)
    for values, colour, name in zip(sides, (BLUE, ORANGE), ("reference", "batch"), strict=True):
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        shares = counts / max(len(values), 1)
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.35, label=name)
        axes.stairs(shares, edges, color=colour, linewidth=1.2)
    axes.locator_params(axis="x", nbins=5)
    axes.locator_params(axis="y", nbins=4)


def draw_categories(axes: "Axes", reference: "np.ndarray", batch: "np.ndarray") -> None:
    """Shares of the most frequent categories, side by side; the rest is one bar."""
    import numpy as np

    sides = [Counter(str(value) for value in values if value is not None) for values in (reference, batch)]
    totals = [max(sum(side.values()), 1) for side in sides]
    if not any(sides):
        say(axes, "no values")
        return
    shares = {name: (sides[0][name] / totals[0], sides[1][name] / totals[1]) for name in sides[0] | sides[1]}
    names = sorted(shares, key=lambda name: (-max(shares[name]), name))
    shown = [(caption(name, 14), shares[name]) for name in names[:CATEGORIES_SHOWN]]
    if len(names) > CATEGORIES_SHOWN:
        rest = [shares[name] for name in names[CATEGORIES_SHOWN:]]
        shown.append((f"{len(rest)} others", (sum(share for share, _ in rest), sum(share for _, share in rest))))
    places = np.arange(len(shown))
    for side, (colour, name) in enumerate(((BLUE, "reference"), (ORANGE, "batch"))):
        axes.barh(places + 0.4 * side - 0.2, [pair[side] for _, pair in shown], 0.38, color=colour, label=name)
    axes.set_yticks(places, [name for name, _ in shown], fontsize=7)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.locator_params(axis="x", nbins=4)


def _bulk(values: "np.ndarray") -> "np.ndarray":
    """The two percentiles between which the values are worth showing, kept within what an axis can be drawn for."""
    import numpy as np

    return np.clip(np.quantile(values, [0.005, 0.995]), -1e30, 1e30) if len(values) else values


def _limits(pooled: "np.ndarray") -> tuple[float, float]:
    """Lowest and highest, moved apart when no bins would fit between them."""
    low, high = float(pooled.min()), float(pooled.max())
    size = max(abs(low), abs(high), 1e-200)
    if high - low > 1e-9 * size:
        return low, high
    pad = max(0.5, 1e-6 * size)
    return low - pad, high + pad
