"""Declared checks and what each found on a batch. Never evaluates a check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

Severity = Literal["error", "warn"]
OF_ALL_VALUES = frozenset({"mean_between", "mean_between_reference", "quantile_between_reference"})
"""Tests of a column's values taken together: of labels that came early they would judge a sample that is not fair."""


class Scope(StrEnum):
    ROW = "row"
    """A failure names rows; those rows can be quarantined alone."""
    TABLE = "table"
    """A failure is of the batch as a whole."""


class CheckStatus(StrEnum):
    PASSED = "PASSED"
    FAILED = "FAILED"
    ERRORED = "ERRORED"
    """The check could not run: UNKNOWN, never taken for PASSED."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One test of `dbt_like_checks/<model>.yml`, or one singular SQL file."""

    name: str
    """Unique in the model, a valid Dagster check name: `[A-Za-z0-9_]+`."""
    test: str
    """The test's name in the file: `not_null`, `accepted_range`, …; `singular` for an SQL file."""
    scope: Scope
    column: str | None = None
    severity: Severity = "error"
    where: str | None = None
    """SQL condition on the batch's rows; the test sees the rows for which it is true."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    def waits_for_labels(self, label: str) -> bool:
        """Whether it judges the labels of a batch taken together, so that enough of them must have come."""
        return self.column == label and self.test in OF_ALL_VALUES


@dataclass(frozen=True, kw_only=True)
class CheckOutcome:
    """What one check found on one batch."""

    check: Check
    status: CheckStatus
    observed: str | float | None
    """The value that was compared: a share, a count, a mean, a list of columns as text."""
    failing_rows: tuple[int, ...] = ()
    """Positions (0-based) of the failing rows in the batch; empty for table scope."""
    sample: Sequence[Mapping[str, Any]] = ()
    """At most ten failing rows, for people."""
    reason: str = ""

    @property
    def blames_rows(self) -> bool:
        return self.status is CheckStatus.FAILED and self.check.scope is Scope.ROW
