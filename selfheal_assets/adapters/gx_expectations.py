"""Translate declared checks into expectations over a batch's rows. Never evaluates one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from sys import float_info
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.column_types import observed_types, repeated, type_of_parts
from selfheal_assets.adapters.gx_project import expectation_types
from selfheal_assets.adapters.part_values import presence, repeated_values, values_where
from selfheal_assets.adapters.sql_checks import evaluate_singular, rows_where
from selfheal_assets.core.errors import ChecksError
from selfheal_assets.core.quality import Check, CheckOutcome, CheckStatus
from selfheal_assets.ports import BatchRows, CheckContext, FrameRows, batch_rows

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.expectations.expectation import Expectation

_PLAIN: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]] = {
    "not_null": ("ExpectColumnValuesToNotBeNull", lambda _: {}),
    "accepted_values": ("ExpectColumnValuesToBeInSet", lambda given: {"value_set": given["values"]}),
    "finite": ("ExpectColumnValuesToBeBetween", lambda _: {"min_value": -float_info.max, "max_value": float_info.max}),
    "max_missing": (
        "ExpectColumnProportionOfNonNullValuesToBeBetween",
        lambda given: {"min_value": 1 - given["share"]},
    ),
    "mean_between": ("ExpectColumnMeanToBeBetween", lambda given: given),
    "row_count": ("ExpectTableRowCountToBeBetween", lambda given: given),
    "column_set": ("ExpectTableColumnsToMatchSet", lambda given: {"column_set": list(given["columns"])}),
}
"""Tests that are one expectation as it is, with its arguments from those of the test."""


PRESENCE = ("not_null", "max_missing", "unique")
"""Tests that ask whether values are there, or there again, and not what they are."""


class CheckedBatch:
    """A batch's rows, the frames that expectations look at, and what to expect of these."""

    def __init__(self, source: BatchRows, context: CheckContext, columns: Sequence[str] | None = None) -> None:
        """`columns`: those that the expectations look at; None for all."""
        import pandas as pd

        self.source = source
        self.context = context
        self.rows = source.frame(columns)
        self.apart = columns is not None
        """Whether the rows are too many to be looked at together."""
        names = [str(name) for name in source.columns]
        self.names = [name if names.index(name) == place else repeated(name) for place, name in enumerate(names)]
        self.frames = {"rows": self.rows.copy(deep=False), "columns": pd.DataFrame(columns=self.names)}
        self.planned: list[tuple[Check, list[Expectation]]] = []

    @cached_property
    def types(self) -> dict[str, str]:
        """The types that the values of each column have."""
        whole = len(self.rows.columns) == len(self.source.columns)
        if whole:
            return observed_types(self.rows)
        return {name: type_of_parts(part[name] for part in self.source.parts([name])) for name in self.names}

    def plan(self, check: Check) -> CheckOutcome | None:
        """Translate a check into expectations; an outcome when it is settled without Great Expectations."""
        try:
            if check.test == "singular":
                return evaluate_singular(self.source, check, self.context.model)
            if check.column is not None and check.column not in self.source.columns:
                raise ChecksError(f"column '{check.column}' is not in the batch")
            if check.test.endswith("_between_reference") and self.context.reference is None:
                return CheckOutcome(check=check, status=CheckStatus.PASSED, observed=None, reason="no reference yet")
            if self.apart and check.test in PRESENCE:
                self.frames["rows"][str(check.column)] = presence(self.source, str(check.column))
            self.planned.append((check, self._expectations(check, self._common(check))))
        except Exception as error:  # Whatever is wrong with a check or its history, the answer is UNKNOWN.
            reason = str(error) if isinstance(error, ChecksError) else f"{type(error).__name__}: {error}"
            return CheckOutcome(check=check, status=CheckStatus.ERRORED, observed=None, reason=reason)
        return None

    def _expectations(self, check: Check, common: Mapping[str, Any]) -> "list[Expectation]":
        if check.test not in _PLAIN:
            found: list[Expectation] = getattr(self, f"_{check.test}")(check, **common)
            return found
        name, arguments = _PLAIN[check.test]
        column = {} if check.column is None else {"column": check.column}
        return [getattr(expectation_types(), name)(**column, **arguments(check.arguments), **common)]

    def _common(self, check: Check) -> dict[str, Any]:
        severity = "critical" if check.severity == "error" else "warning"
        common = {"meta": {"check": check.name}, "severity": severity, "description": check.description or None}
        if check.where is None:
            return common
        expectation_types()
        from great_expectations.expectations.row_conditions import Column

        self.frames["rows"][f"where__{check.name}"] = rows_where(self.source, check.where)
        condition = Column(f"where__{check.name}") == True  # noqa: E712 - GX overloads the operator
        return {**common, "row_condition": condition, "notes": f"where {check.where}"}

    def _unique(self, check: Check, **common: Any) -> "list[Expectation]":
        if self.apart:
            return self._unique_by_parts(check, common)
        unique = [expectation_types().ExpectColumnValuesToBeUnique(column=check.column, **common)]
        if not check.arguments.get("across_batches"):
            return unique
        values = self.rows[check.column]
        seen = self.context.earlier(str(check.column), values).to_numpy(dtype=bool, na_value=False)
        return [*unique, self._none_among(check, "seen_in_an_earlier_batch", values.where(seen), common)]

    def _unique_by_parts(self, check: Check, common: Mapping[str, Any]) -> "list[Expectation]":
        column = str(check.column)
        among = None if check.where is None else self.frames["rows"][f"where__{check.name}"].to_numpy()
        wrong = {"repeated": repeated_values(self.source, column, among)}
        if check.arguments.get("across_batches"):
            wrong["seen_in_an_earlier_batch"] = values_where(
                self.source, column, lambda values: self.context.earlier(column, values)
            )
        return [self._none_among(check, suffix, values, common) for suffix, values in wrong.items()]

    def _relationships(self, check: Check, **common: Any) -> "list[Expectation]":
        """The value stands in `field` of an earlier clean batch, or of a row of this batch that is not later."""
        field, clock = check.arguments["field"], self.context.event_timestamp
        if absent := [name for name in (field, clock) if name not in self.rows]:
            raise ChecksError(f"columns {absent} are not in the batch")
        values, times = self.rows[check.column], self.rows[clock]
        near = self.rows[field].isin(values.dropna())
        first = times[near].groupby(self.rows.loc[near, field]).min()
        here = (values.map(first).astype(times.dtype) <= times) & (values != self.rows[field])
        known = here.to_numpy(dtype=bool, na_value=False)
        known |= self.context.earlier(field, values).to_numpy(dtype=bool, na_value=False)
        return [self._none_among(check, f"not_in_an_earlier_{field}", values.where(~known), common)]

    def _none_among(self, check: Check, suffix: str, wrong: "pd.Series", common: Mapping[str, Any]) -> Any:
        """Expect a column to be empty that holds the wrong values only, so that Data Docs show just these."""
        column = f"{check.column}__{suffix}"
        self.frames["rows"][column] = wrong.astype(object)
        return expectation_types().ExpectColumnValuesToBeNull(column=column, **common)

    def _accepted_range(self, check: Check, **common: Any) -> "list[Expectation]":
        low, high = check.arguments.get("min_value"), check.arguments.get("max_value")
        strict = not check.arguments.get("inclusive", True)
        limits = {"min_value": low, "max_value": high, "strict_min": strict, "strict_max": strict}
        return [expectation_types().ExpectColumnValuesToBeBetween(column=check.column, **limits, **common)]

    def _column_types(self, check: Check, **common: Any) -> "list[Expectation]":
        import pandas as pd

        wanted = check.arguments["types"]
        observed = [(name, self.types.get(name, "absent")) for name in wanted]
        self.frames[frame_of(check)] = pd.DataFrame(observed, columns=["column", "type"], dtype=object)
        pairs = [(name, fit) for name, kind in wanted.items() for fit in (kind, "missing")]
        pairs += [(name, "integer") for name, kind in wanted.items() if kind == "float"]
        pair = {"column_A": "column", "column_B": "type", "value_pairs_set": pairs}
        return [expectation_types().ExpectColumnPairValuesToBeInSet(**pair, **common)]

    def _freshness(self, check: Check, **common: Any) -> "list[Expectation]":
        """The newest event is at most so old, and at most so far ahead of the clock."""
        limits, now = {}, self.context.now
        if (age := check.arguments.get("max_age_hours")) is not None:
            limits["min_value"] = now - timedelta(hours=age)
        if (ahead := check.arguments.get("max_future_hours")) is not None:
            limits["max_value"] = now + timedelta(hours=ahead)
        return [expectation_types().ExpectColumnMaxToBeBetween(column=self.context.event_timestamp, **limits, **common)]

    def _mean_between_reference(self, check: Check, **common: Any) -> "list[Expectation]":
        values = self._reference(check)
        low, high = _bounds(values.mean(), values.std(ddof=0), check)
        return [
            expectation_types().ExpectColumnMeanToBeBetween(
                column=check.column, min_value=low, max_value=high, **common
            )
        ]

    def _quantile_between_reference(self, check: Check, **common: Any) -> "list[Expectation]":
        values, quantile = self._reference(check), check.arguments["quantile"]
        bounds = _bounds(values.quantile(quantile), values.std(ddof=0), check)
        ranges = {"quantiles": [quantile], "value_ranges": [list(bounds)]}
        return [
            expectation_types().ExpectColumnQuantileValuesToBeBetween(
                column=check.column, quantile_ranges=ranges, **common
            )
        ]

    def _reference(self, check: Check) -> "pd.Series":
        """The reference's finite values of the column, in the rows that the check's `where` takes."""
        import numpy as np
        import pandas as pd

        reference = self.context.reference
        if reference is None or check.column not in reference:
            raise ChecksError(f"column '{check.column}' is not in the reference")
        taken = reference if check.where is None else reference[rows_where(FrameRows(reference), check.where)]
        values = pd.to_numeric(taken[check.column], errors="coerce").astype(float)
        values = values[np.isfinite(values)]
        if values.empty:
            raise ChecksError(f"column '{check.column}' has no values in the reference")
        return values


def asked_together(
    source: BatchRows, checks: Sequence[Check], clock: str
) -> "Iterator[tuple[list[str] | None, list[Check]]]":
    """All checks, which look at all columns (None), where the rows are one part; else each check with its own columns.

    Columns that the batch does not have are left out.
    """
    if len(source) <= batch_rows.PART_ROWS:
        yield None, list(checks)
        return
    for check in checks:
        yield [name for name in _seen(check, clock) if name in source.columns], [check]


def _seen(check: Check, clock: str) -> list[str]:
    """The columns that a check's expectations look at, beside those of its `where`."""
    if check.test == "relationships":
        return list(dict.fromkeys([str(check.column), check.arguments["field"], clock]))
    if check.test == "freshness":
        return [clock]
    # Whether values are there, and stand once, is found part by part.
    return [] if check.column is None or check.test in PRESENCE else [check.column]


def frame_of(check: Check) -> str:
    """The name of the frame that a check's expectations look at."""
    return {"column_set": "columns", "column_types": f"types of {check.name}"}.get(check.test, "rows")


def _bounds(center: float, deviation: float, check: Check) -> tuple[float, float]:
    # A constant reference has no spread: leave room for rounding only.
    width = max(check.arguments["max_shift_sd"] * deviation, 1e-9 * abs(center))
    return float(center - width), float(center + width)
