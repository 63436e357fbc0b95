"""Read a check's outcome from its Great Expectations results. Never takes what could not be evaluated for passed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.failure_words import row_failure, table_failure
from selfheal_assets.adapters.gx_expectations import CheckedBatch
from selfheal_assets.adapters.sql_checks import SAMPLE_ROWS, readable_rows
from selfheal_assets.core.quality import Check, CheckOutcome, CheckStatus, Scope

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult


def read_outcome(
    check: Check, results: "Sequence[ExpectationValidationResult]", batch: CheckedBatch, unknown: str
) -> CheckOutcome:
    """Read one check's results; without any the reason is `unknown`. No answer, or nothing to compare, is ERRORED."""
    import numpy as np

    failed = [result for result in results if not result.success]
    reason = _exception(failed) if results else unknown
    observed = None if reason else _observed(check, results, batch)
    if observed is None:
        reason = reason or "there are no values to compare"
        return CheckOutcome(check=check, status=CheckStatus.ERRORED, observed=None, reason=reason)
    if not failed:
        return CheckOutcome(check=check, status=CheckStatus.PASSED, observed=observed)
    if check.scope is Scope.TABLE:
        reason = table_failure(check, observed, _limits(failed[0]))
        return CheckOutcome(check=check, status=CheckStatus.FAILED, observed=observed, reason=reason)
    positions = _positions(failed)
    sample = readable_rows(batch.source.at(np.array(positions[:SAMPLE_ROWS], dtype=np.intp)))
    return CheckOutcome(
        check=check,
        status=CheckStatus.FAILED,
        observed=observed,
        failing_rows=positions,
        sample=sample,
        reason=row_failure(check, len(positions), len(batch.rows), sample),
    )


def _positions(results: "Sequence[ExpectationValidationResult]") -> tuple[int, ...]:
    return tuple(sorted({row for result in results for row in result.result.get("unexpected_index_list", ())}))


def _limits(result: "ExpectationValidationResult") -> tuple[Any, Any]:
    """The least and the greatest value allowed; None where there is no such bound."""
    config = result.expectation_config
    kwargs = config.kwargs if config else {}
    ranges = kwargs.get("quantile_ranges", {}).get("value_ranges", [[kwargs.get("min_value"), kwargs.get("max_value")]])
    low, high = ranges[0]
    return low, high


def _exception(results: "Sequence[ExpectationValidationResult]") -> str:
    """What was raised inside an expectation: GX notes it once, or once a metric."""
    for result in results:
        info = result.exception_info
        for entry in [info] if "raised_exception" in info else info.values():
            if entry["raised_exception"]:
                return f"Great Expectations could not evaluate it: {entry['exception_message']}"
    return ""


def _observed(
    check: Check, results: "Sequence[ExpectationValidationResult]", batch: CheckedBatch
) -> str | float | None:
    """The value that was compared; None when it is missing."""
    import pandas as pd

    if check.scope is Scope.ROW:
        return float(len(_positions(results)))
    if check.test == "column_set":
        return _columns(check.arguments["columns"], batch.names)
    if check.test == "column_types":
        declared = check.arguments["types"]
        wrong = [f"{name} is {kind}, not {declared[name]}" for name, kind in results[0].result["unexpected_list"]]
        return "; ".join(wrong) or "the declared types"
    value = results[0].result.get("observed_value")
    value = value["values"][0] if isinstance(value, Mapping) else value
    if pd.isna(value):
        return None
    if check.test == "max_missing":
        return 1.0 - float(value)  # The expectation counts the values that are there.
    return value.isoformat() if isinstance(value, pd.Timestamp) else float(value)


def _columns(wanted: Sequence[str], present: Sequence[str]) -> str:
    absent = [name for name in wanted if name not in present]
    extra = [name for name in present if name not in wanted]
    found = [("missing", absent), ("not declared", extra)]
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in found if names) or "the declared columns"
