"""Say in plain words why a check failed: what was seen, then what is allowed. Never decides whether it failed."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from selfheal_assets.core.quality import Check

SHOWN_VALUES = 3
SHOWN_CHOICES = 12
Bounds = tuple[Any, Any]
"""The least and the greatest value allowed; None for no bound."""


def row_failure(check: Check, failing: int, rows: int, sample: Sequence[Mapping[str, Any]]) -> str:
    """Why `failing` of `rows` rows fail; values of the sample are named where they tell more than the number does."""
    fault, allowed = _row_words(check)
    telling = check.test in ("accepted_values", "accepted_range")
    values = _listed([row.get(str(check.column)) for row in sample], SHOWN_VALUES)
    shown = f" (such as {values})" if telling else ""
    return f"{check.column} {fault} in {failing} of {rows} rows{shown}; allowed {allowed}{_where(check)}"


def _row_words(check: Check) -> tuple[str, str]:
    """What is wrong with the column, and what is allowed."""
    given = check.arguments
    match check.test:
        case "not_null":
            return "is missing", "no missing value"
        case "unique":
            return "is repeated", f"each value once{', over all batches' if given.get('across_batches') else ''}"
        case "accepted_values":
            return "has another value", _listed(given["values"], SHOWN_CHOICES)
        case "accepted_range":
            limits = _range((given.get("min_value"), given.get("max_value")))
            return "is out of range", limits if given.get("inclusive", True) else f"{limits}, without these"
        case "finite":
            return "is infinite", "finite numbers"
        case "relationships":
            return "refers to no known row", f"the {given['field']} of an earlier row or clean batch"
        case other:
            return f"breaks {other}", "what is declared"


def table_failure(check: Check, observed: str | float, bounds: Bounds) -> str:
    """Why the batch as a whole fails: the observed value, and the bounds or the declaration that it breaks."""
    seen, given = plain(observed), check.arguments
    match check.test:
        case "max_missing":
            words = f"share of rows without {check.column} {seen}; allowed at most {plain(given['share'])}"
        case "row_count":
            words = f"{seen} rows; allowed {_range(bounds)}"
        case "column_set":
            words = f"columns {seen}; allowed exactly the {len(given['columns'])} declared"
        case "column_types":
            words = f"{seen}"
        case "freshness":
            rule = ", ".join(f"{name} {plain(hours)}" for name, hours in given.items())
            words = f"newest row {plain(datetime.fromisoformat(seen))}; allowed {_range(bounds)} ({rule})"
        case "mean_between":
            words = f"mean of {check.column} {seen}; allowed {_range(bounds)}"
        case "mean_between_reference":
            words = f"mean of {check.column} {seen}; allowed {_near_reference(check, 'mean', bounds)}"
        case "quantile_between_reference":
            quantile = "median" if given["quantile"] == 0.5 else f"{plain(given['quantile'])}-quantile"
            words = f"{quantile} of {check.column} {seen}; allowed {_near_reference(check, quantile, bounds)}"
        case other:
            words = f"{other} {seen}; allowed {_range(bounds)}"
    return words + _where(check)


def plain(value: Any) -> str:
    """A number to six digits, written out below 1e15; a time in UTC to the second; anything else as it is."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:.6g}"


def _near_reference(check: Check, what: str, bounds: Bounds) -> str:
    low, high = bounds
    center, width = (low + high) / 2, (high - low) / 2
    span = f"{plain(center)} ± {plain(width)} ({plain(low)} to {plain(high)})"
    return f"{span}, the reference's {what} ± {plain(check.arguments['max_shift_sd'])} sd"


def _range(bounds: Bounds) -> str:
    low, high = bounds
    if low is None or high is None:
        return f"at least {plain(low)}" if high is None else f"at most {plain(high)}"
    return f"{plain(low)} to {plain(high)}"


def _listed(values: Iterable[Any], most: int) -> str:
    """The different values, at most so many, each cut to forty letters."""
    different = list(dict.fromkeys(plain(value)[:40] for value in values))
    return ", ".join(different[:most]) + (", …" if len(different) > most else "")


def _where(check: Check) -> str:
    return f" (where {check.where})" if check.where else ""
