"""Plots as inline images, names as captions, and what importing the plots costs."""

import base64
import re
import subprocess
import sys

import pandas as pd

from selfheal_assets.stages import plots
from selfheal_assets.stages.plots.canvas import caption


def test_markdown_holds_the_image_and_words_that_cannot_break_out() -> None:
    png = plots.training_window_plot(pd.DataFrame())
    text = plots.as_markdown(png, "drift](http://x) of $amount\n![")
    found = re.fullmatch(r"!\[([^\[\]\n]*)\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", text)
    assert found
    assert base64.b64decode(found.group(2)) == png
    assert "$amount" in found.group(1)


def test_captions_are_one_short_line() -> None:
    assert [caption("a\tb\nc"), caption("x" * 50, 10), caption("$5")] == ["a b c", "x" * 9 + "…", r"\$5"]


def test_importing_loads_neither_matplotlib_nor_pandas() -> None:
    code = "import sys, selfheal_assets.stages.plots; print({'matplotlib', 'pandas'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
