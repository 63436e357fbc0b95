"""Make figures of one look and turn them into small PNG bytes and Markdown. Never touches pyplot's global state."""

import base64
import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.evidence import Status

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette (2008), told apart by colour-blind people.
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#7A7A7A",
)
STATUS_COLOURS = {Status.CLEAR: GREEN, Status.RAISED: VERMILLION, Status.UNKNOWN: GREY}
STATUS_MARKERS = {Status.CLEAR: "o", Status.RAISED: "X", Status.UNKNOWN: "s"}
Margins = tuple[int, int, int, int]
"""Left, right, top and bottom, in pixels."""
WIDTH_PX = 900
DPI = 100
PNG_COLOURS = 128


def new_figure(height_px: int, margins_px: Margins | None = None) -> "Figure":
    """An empty figure, 900 pixels wide. Without margins its parts make room for each other, which costs as much again
    as drawing them: the plots that every batch has give margins."""
    from matplotlib.figure import Figure

    size = (WIDTH_PX / DPI, height_px / DPI)
    if margins_px is None:
        return Figure(figsize=size, dpi=DPI, layout="constrained")
    figure = Figure(figsize=size, dpi=DPI)
    left, right, top, bottom = margins_px
    figure.subplots_adjust(
        left=left / WIDTH_PX, right=1.0 - right / WIDTH_PX, top=1.0 - top / height_px, bottom=bottom / height_px
    )
    return figure


def style(axes: "Axes") -> None:
    """Thin frame, small ticks, light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#E5E5E5", linewidth=0.6)
    axes.set_axisbelow(True)


def say(axes: "Axes", message: str) -> None:
    """Words in place of a plot that has nothing to draw."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, message, ha="center", va="center", fontsize=9, color=GREY, transform=axes.transAxes, wrap=True)


def caption(text: object, length: int = 32) -> str:
    """One printable line of at most `length` characters, without matplotlib's mathematics."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    shown = line if len(line) <= length else line[: length - 1] + "…"
    return shown.replace("$", r"\$")


def batch_ticks(axes: "Axes", batch_ids: Sequence[str], most: int = 14) -> None:
    """Slanted batch ids under places 0, 1, …: at most `most`, the newest always among them."""
    step = -(-len(batch_ids) // most) if batch_ids else 1
    places = list(range(len(batch_ids) - 1, -1, -step))
    names = [caption(batch_ids[place], 18) for place in places]
    axes.set_xticks(places, names, rotation=30, ha="right", rotation_mode="anchor", fontsize=8)


def finite(values: Any) -> "np.ndarray":
    """The finite numbers among `values`, as float64 (k,)."""
    import numpy as np

    numbers = np.asarray(values, dtype=np.float64).ravel()
    return numbers[np.isfinite(numbers)]


def to_png(figure: "Figure") -> bytes:
    """Draw with Agg; a palette of 128 colours keeps the bytes few enough to be stored beside every batch."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas: Any = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes: not worth a line in the run's log.
        warnings.simplefilter("ignore")
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    # Maximum coverage keeps the colours of few pixels, such as those of a status; a median cut would blend them.
    palette = image.quantize(PNG_COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    palette.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def as_markdown(png: bytes, alt: str) -> str:
    """An inline image for Dagster's Markdown metadata; `alt` is what a person without the image reads."""
    words = caption(alt, 200).replace(r"\$", "$").translate(str.maketrans("[]\\", "()/"))
    return f"![{words}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"
