"""Draw the outcomes of a batch's checks: failing share by check in, PNG bytes out. Never evaluates a check."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from selfheal_assets.core.quality import CheckOutcome, CheckStatus, Scope
from selfheal_assets.stages.plots.canvas import (
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

BARS = 24
_GRAVEST_FIRST = ("failed", "failed (warn)", "could not run", "passed")
_COLOURS = dict(zip(_GRAVEST_FIRST, (VERMILLION, ORANGE, GREY, GREEN), strict=True))


def quality_plot(outcomes: Sequence[CheckOutcome], rows: int) -> bytes:
    """PNG of one bar a check, the gravest first; a check of the table as a whole has a mark in place of a bar."""
    ordered = sorted(outcomes, key=lambda outcome: _order(outcome, rows))
    shown = ordered[:BARS]
    figure = new_figure(90 + 20 * max(len(shown), 3), (290, 15, 35, 50))
    axes = figure.subplots()
    if not shown:
        say(axes, "no checks are declared")
        return to_png(figure)
    shares = [_share(outcome, rows) for outcome in shown]
    limit = max(*shares, 0.001) * 1.05
    for place, (outcome, share) in enumerate(zip(shown, shares, strict=True)):
        _draw(axes, place, outcome, share, limit)
    style(axes)
    axes.grid(visible=False, axis="y")
    axes.set_yticks(range(len(shown)), [caption(outcome.check.name, 44) for outcome in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0.0, limit * 1.35)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %" if value <= 1.0 else "")
    axes.set_xlabel(f"share of {rows:,} rows that fail", fontsize=9)
    axes.set_title(_title(ordered, len(shown)), fontsize=10, loc="left")
    return to_png(figure)


def _draw(axes: "Axes", place: int, outcome: CheckOutcome, share: float, limit: float) -> None:
    state = _state(outcome)
    colour, words = _COLOURS[state], state
    if outcome.check.scope is Scope.TABLE or outcome.status is CheckStatus.ERRORED or not share:
        marker = "o" if state == "passed" else "X"
        axes.plot([limit * 0.008], [place], marker, color=colour, markersize=7, clip_on=False)
    else:
        axes.barh(place, share, 0.68, color=colour)
    if share:
        words = f"{state}: {len(outcome.failing_rows):,} rows ({share:.2%})"
    elif outcome.observed is not None and state != "passed":
        words = f"{state}: {caption(outcome.observed, 36)}"
    axes.text(max(share, limit * 0.015) + limit * 0.012, place, words, va="center", fontsize=8, color="#333333")


def _state(outcome: CheckOutcome) -> str:
    if outcome.status is CheckStatus.PASSED:
        return "passed"
    if outcome.status is CheckStatus.ERRORED:
        return "could not run"
    return "failed" if outcome.check.severity == "error" else "failed (warn)"


def _share(outcome: CheckOutcome, rows: int) -> float:
    return len(outcome.failing_rows) / rows if rows > 0 else 0.0


def _order(outcome: CheckOutcome, rows: int) -> tuple[int, float, str]:
    return _GRAVEST_FIRST.index(_state(outcome)), -_share(outcome, rows), outcome.check.name


def _title(outcomes: Sequence[CheckOutcome], shown: int) -> str:
    states = [_state(outcome) for outcome in outcomes]
    counts = ", ".join(f"{states.count(state)} {state}" for state in _GRAVEST_FIRST if state in states)
    return counts if shown == len(outcomes) else f"{counts}; the first {shown} shown"
