"""Evaluate declared checks over a batch with Great Expectations and publish its Data Docs. Never changes the batch."""

import logging
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from sys import float_info
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.sql_checks import (
    SAMPLE_ROWS,
    evaluate_singular,
    observed_types,
    readable_rows,
    rows_where,
)
from selfheal_assets.core.errors import ChecksError
from selfheal_assets.core.quality import Check, CheckOutcome, CheckStatus, Scope
from selfheal_assets.ports import CheckContext

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext
    from great_expectations.data_context.store.validation_results_store import ValidationResultsStore
    from great_expectations.data_context.types.resource_identifiers import ValidationResultIdentifier
    from great_expectations.expectations.expectation import Expectation

KEPT_REPORTS = 50
_LOG = logging.getLogger(__name__)
_FORMAT = {"result_format": "COMPLETE", "partial_unexpected_count": SAMPLE_ROWS, "return_unexpected_index_query": False}
_PLAIN: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]] = {
    "not_null": ("ExpectColumnValuesToNotBeNull", lambda _: {}),
    "accepted_values": ("ExpectColumnValuesToBeInSet", lambda given: {"value_set": given["values"]}),
    "finite": ("ExpectColumnValuesToBeBetween", lambda _: {"min_value": -float_info.max, "max_value": float_info.max}),
    "max_missing": (
        "ExpectColumnProportionOfNonNullValuesToBeBetween",
        lambda given: {"min_value": 1 - given["share"]},
    ),
    "row_count": ("ExpectTableRowCountToBeBetween", lambda given: given),
    "column_set": ("ExpectTableColumnsToMatchSet", lambda given: {"column_set": list(given["columns"])}),
}
"""Tests that are one expectation as it is, with its arguments from those of the test."""


class GreatExpectationsChecks:
    """QualityChecks by GX over pandas; singular SQL by DuckDB. Data Docs stand under `home/data_docs/<model>/`."""

    def __init__(self, home: Path) -> None:
        self._folder = Path(home).absolute() / "data_docs"

    def evaluate(self, frame: "pd.DataFrame", checks: Sequence[Check], context: CheckContext) -> list[CheckOutcome]:
        """One outcome a check, in the order of `checks`; positions are those of `frame`'s rows, whatever its index."""
        import pandas as pd

        rows = frame.copy(deep=False)
        rows.index = pd.RangeIndex(len(rows))
        batch = _Batch(rows, context)
        settled = {check.name: batch.plan(check) for check in checks}
        try:
            results = _validate(batch) if batch.planned else {}
            unknown = "Great Expectations gave no result"
        except Exception as error:  # GX passes on whatever its parts raise; none of it may stop an ingest.
            results, unknown = {}, f"Great Expectations could not run: {type(error).__name__}: {error}"
        outcomes = [
            settled[check.name] or _outcome(check, results.get(check.name, []), batch, unknown) for check in checks
        ]
        if results:
            _publish(self._folder / context.model, batch, [result for found in results.values() for result in found])
        return outcomes

    def report_uri(self, model: str) -> str | None:
        """The `file://` address of the model's Data Docs, or None before its first batch."""
        index = self._folder / model / "site" / "index.html"
        return index.as_uri() if index.is_file() else None


class _Batch:
    """A batch's rows, the frames that expectations look at, and what to expect of these."""

    def __init__(self, rows: "pd.DataFrame", context: CheckContext) -> None:
        import pandas as pd

        self.rows = rows
        self.context = context
        self.types = observed_types(rows)
        self.frames = {"rows": rows.copy(deep=False), "columns": pd.DataFrame(columns=list(self.types))}
        self.planned: list[tuple[Check, list[Expectation]]] = []

    def plan(self, check: Check) -> CheckOutcome | None:
        """Translate a check into expectations; an outcome when it is settled without Great Expectations."""
        try:
            if check.test == "singular":
                return evaluate_singular(self.rows, check, self.context.model)
            if check.column is not None and check.column not in self.rows:
                raise ChecksError(f"column '{check.column}' is not in the batch")
            if check.test.endswith("_between_reference") and self.context.reference is None:
                return CheckOutcome(check=check, status=CheckStatus.PASSED, observed=None, reason="no reference yet")
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
        return [getattr(_gx(), name)(**column, **arguments(check.arguments), **common)]

    def _common(self, check: Check) -> dict[str, Any]:
        severity = "critical" if check.severity == "error" else "warning"
        common = {"meta": {"check": check.name}, "severity": severity, "description": check.description or None}
        if check.where is None:
            return common
        _gx()
        from great_expectations.expectations.row_conditions import Column

        self.frames["rows"][f"where__{check.name}"] = rows_where(self.rows, check.where)
        condition = Column(f"where__{check.name}") == True  # noqa: E712 - GX overloads the operator
        return {**common, "row_condition": condition, "notes": f"where {check.where}"}

    def _unique(self, check: Check, **common: Any) -> "list[Expectation]":
        unique = [_gx().ExpectColumnValuesToBeUnique(column=check.column, **common)]
        if not check.arguments.get("across_batches"):
            return unique
        values = self.rows[check.column]
        seen = self.context.earlier(str(check.column), values).to_numpy(dtype=bool, na_value=False)
        return [*unique, self._none_among(check, "seen_in_an_earlier_batch", values.where(seen), common)]

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
        return _gx().ExpectColumnValuesToBeNull(column=column, **common)

    def _accepted_range(self, check: Check, **common: Any) -> "list[Expectation]":
        low, high = check.arguments.get("min_value"), check.arguments.get("max_value")
        strict = not check.arguments.get("inclusive", True)
        limits = {"min_value": low, "max_value": high, "strict_min": strict, "strict_max": strict}
        return [_gx().ExpectColumnValuesToBeBetween(column=check.column, **limits, **common)]

    def _column_types(self, check: Check, **common: Any) -> "list[Expectation]":
        import pandas as pd

        wanted = check.arguments["types"]
        observed = [(name, self.types.get(name, "absent")) for name in wanted]
        self.frames[_frame(check)] = pd.DataFrame(observed, columns=["column", "type"], dtype=object)
        pairs = [(name, fit) for name, kind in wanted.items() for fit in (kind, "missing")]
        pairs += [(name, "integer") for name, kind in wanted.items() if kind == "float"]
        pair = {"column_A": "column", "column_B": "type", "value_pairs_set": pairs}
        return [_gx().ExpectColumnPairValuesToBeInSet(**pair, **common)]

    def _freshness(self, check: Check, **common: Any) -> "list[Expectation]":
        """The newest event is at most so old, and at most so far ahead of the clock."""
        limits, now = {}, self.context.now
        if (age := check.arguments.get("max_age_hours")) is not None:
            limits["min_value"] = now - timedelta(hours=age)
        if (ahead := check.arguments.get("max_future_hours")) is not None:
            limits["max_value"] = now + timedelta(hours=ahead)
        return [_gx().ExpectColumnMaxToBeBetween(column=self.context.event_timestamp, **limits, **common)]

    def _mean_between_reference(self, check: Check, **common: Any) -> "list[Expectation]":
        values = self._reference(check)
        low, high = _bounds(values.mean(), values.std(ddof=0), check)
        return [_gx().ExpectColumnMeanToBeBetween(column=check.column, min_value=low, max_value=high, **common)]

    def _quantile_between_reference(self, check: Check, **common: Any) -> "list[Expectation]":
        values, quantile = self._reference(check), check.arguments["quantile"]
        bounds = _bounds(values.quantile(quantile), values.std(ddof=0), check)
        ranges = {"quantiles": [quantile], "value_ranges": [list(bounds)]}
        return [_gx().ExpectColumnQuantileValuesToBeBetween(column=check.column, quantile_ranges=ranges, **common)]

    def _reference(self, check: Check) -> "pd.Series":
        """The reference's finite values of the column, in the rows that the check's `where` takes."""
        import numpy as np
        import pandas as pd

        reference = self.context.reference
        if reference is None or check.column not in reference:
            raise ChecksError(f"column '{check.column}' is not in the reference")
        taken = reference if check.where is None else reference[rows_where(reference, check.where)]
        values = pd.to_numeric(taken[check.column], errors="coerce").astype(float)
        values = values[np.isfinite(values)]
        if values.empty:
            raise ChecksError(f"column '{check.column}' has no values in the reference")
        return values


def _frame(check: Check) -> str:
    """The name of the frame that a check's expectations look at."""
    return {"column_set": "columns", "column_types": f"types of {check.name}"}.get(check.test, "rows")


def _bounds(center: float, deviation: float, check: Check) -> tuple[float, float]:
    # A constant reference has no spread: leave room for rounding only.
    width = max(check.arguments["max_shift_sd"] * deviation, 1e-9 * abs(center))
    return float(center - width), float(center + width)


def _gx() -> Any:
    """The module of expectations; its first import takes seconds, and warns about Python's own modules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations.expectations as expectations
    return expectations


def _project(folder: Path | None) -> "EphemeralDataContext":
    """A project that keeps all in memory, or its results and Data Docs in the folder."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    defaults = InMemoryStoreBackendDefaults()
    if folder is not None:
        results, site = (
            {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder / name)}
            for name in ("results", "site")
        )
        defaults.stores[defaults.validation_results_store_name]["store_backend"] = results
        docs = {"class_name": "SiteBuilder", "show_how_to_buttons": False, "store_backend": site}
        defaults.data_docs_sites = {"site": docs}
    quiet = ProgressBarsConfig(globally=False, metric_calculations=False)
    config = DataContextConfig(store_backend_defaults=defaults, analytics_enabled=False, progress_bars=quiet)
    return gx.get_context(project_config=config, mode="ephemeral")


def _validate(batch: _Batch) -> "dict[str, list[ExpectationValidationResult]]":
    """Results by check name; positions in them count the rows of the batch."""
    _gx()
    from great_expectations.core import ExpectationSuite

    project = _project(None)
    source = project.data_sources.add_pandas("batch")
    found: dict[str, list[ExpectationValidationResult]] = {}
    for name, frame in batch.frames.items():
        wanted = [
            expectation
            for check, expectations in batch.planned
            for expectation in expectations
            if _frame(check) == name
        ]
        if not wanted:
            continue
        whole = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
        suite = ExpectationSuite(name=name, expectations=wanted)
        # The copy is one block: GX filters the rows for every metric, and pandas would join their blocks every time.
        for result in whole.get_batch({"dataframe": frame.copy()}).validate(suite, result_format=_FORMAT).results:
            config = result.expectation_config
            if config is not None and config.meta is not None:
                found.setdefault(config.meta["check"], []).append(result)
    # The library keeps the last project alive in a global: let the batch go.
    project.data_sources.delete("batch")
    return found


def _outcome(
    check: Check, results: "Sequence[ExpectationValidationResult]", batch: _Batch, unknown: str
) -> CheckOutcome:
    """Read one check's results; what could not be evaluated, or had nothing to compare, is ERRORED."""
    failed = [result for result in results if not result.success]
    reason = _exception(failed) if results else unknown
    observed = None if reason else _observed(check, results, batch)
    if observed is None:
        reason = reason or "there are no values to compare"
        return CheckOutcome(check=check, status=CheckStatus.ERRORED, observed=None, reason=reason)
    if not failed:
        return CheckOutcome(check=check, status=CheckStatus.PASSED, observed=observed)
    if check.scope is Scope.TABLE:
        reason = f"{observed}, expected {_limits(failed[0]) or 'what is declared'}"
        return CheckOutcome(check=check, status=CheckStatus.FAILED, observed=observed, reason=reason)
    positions = _positions(failed)
    return CheckOutcome(
        check=check,
        status=CheckStatus.FAILED,
        observed=observed,
        failing_rows=positions,
        sample=readable_rows(batch.rows.iloc[list(positions[:SAMPLE_ROWS])]),
        reason=f"{len(positions)} of {len(batch.rows)} rows fail",
    )


def _positions(results: "Sequence[ExpectationValidationResult]") -> tuple[int, ...]:
    return tuple(sorted({row for result in results for row in result.result.get("unexpected_index_list", ())}))


def _limits(result: "ExpectationValidationResult") -> str:
    config = result.expectation_config
    kwargs = config.kwargs if config else {}
    ranges = kwargs.get("quantile_ranges", {}).get("value_ranges", [[kwargs.get("min_value"), kwargs.get("max_value")]])
    words = zip(("at least", "at most"), ranges[0], strict=True)
    return " and ".join(f"{word} {limit}" for word, limit in words if limit is not None)


def _exception(results: "Sequence[ExpectationValidationResult]") -> str:
    """What was raised inside an expectation: GX notes it once, or once a metric."""
    for result in results:
        info = result.exception_info
        for entry in [info] if "raised_exception" in info else info.values():
            if entry["raised_exception"]:
                return f"Great Expectations could not evaluate it: {entry['exception_message']}"
    return ""


def _observed(check: Check, results: "Sequence[ExpectationValidationResult]", batch: _Batch) -> str | float | None:
    """The value that was compared; None when it is missing."""
    import pandas as pd

    if check.scope is Scope.ROW:
        return float(len(_positions(results)))
    if check.test == "column_set":
        wanted = check.arguments["columns"]
        absent = [name for name in wanted if name not in batch.types]
        extra = [name for name in batch.types if name not in wanted]
        return f"missing columns {absent}, columns not declared {extra}" if absent or extra else "the declared columns"
    if check.test == "column_types":
        wrong = [f"{name} is {kind}" for name, kind in results[0].result["unexpected_list"]]
        return ", ".join(wrong) or "the declared types"
    value = results[0].result.get("observed_value")
    value = value["values"][0] if isinstance(value, Mapping) else value
    if pd.isna(value):
        return None
    return value.isoformat() if isinstance(value, pd.Timestamp) else float(value)


def _publish(folder: Path, batch: _Batch, results: "list[ExpectationValidationResult]") -> None:
    """Store the results, cut short, and rebuild the Data Docs; a failure costs the report, never the outcomes."""
    from great_expectations.core import ExpectationSuite
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    model, batch_name = batch.context.model, re.sub(r"[^A-Za-z0-9_-]", "-", batch.context.batch_id)[-100:]
    suite, run = ExpectationSuiteIdentifier(model), RunIdentifier(run_name=batch_name, run_time=batch.context.now)
    key = ValidationResultIdentifier(expectation_suite_identifier=suite, run_id=run, batch_identifier=batch_name)
    try:
        project = _project(folder)
        expectations = [expectation for _, planned in batch.planned for expectation in planned]
        project.suites.add(ExpectationSuite(name=model, expectations=expectations))
        project.validation_results_store.store_validation_results(_report(model, run, results), key)
        _prune(folder / "site" / "validations", project.validation_results_store, key)
        pages: list[Any] = [key, suite]
        project.build_data_docs(resource_identifiers=pages)
    except Exception:
        _LOG.warning("the Data Docs of batch %s could not be written to %s", batch_name, folder, exc_info=True)


def _report(
    model: str, run: "RunIdentifier", results: "list[ExpectationValidationResult]"
) -> "ExpectationSuiteValidationResult":
    from great_expectations.core import ExpectationSuiteValidationResult

    passed = sum(bool(result.success) for result in results)
    for result in results:
        result.success = bool(result.success)  # NumPy's own booleans are no JSON.
        result.result = _short(result.result)
    statistics = {
        "evaluated_expectations": len(results),
        "successful_expectations": passed,
        "unsuccessful_expectations": len(results) - passed,
        "success_percent": 100 * passed / len(results),
    }
    return ExpectationSuiteValidationResult(
        success=passed == len(results),
        results=results,
        suite_name=model,
        statistics=statistics,
        meta={"run_id": run, "validation_time": run.run_time},
    )


def _short(value: Any) -> Any:
    """Lists of at most a hundred entries and texts of two hundred letters: a report never grows with its batch."""
    if isinstance(value, Mapping):
        return {key: _short(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_short(entry) for entry in value[:100]]
    return value[:200] if isinstance(value, str) else value


def _prune(pages: Path, store: "ValidationResultsStore", newest: "ValidationResultIdentifier") -> None:
    """Keep the newest reports; `newest` also where many batches carry one time."""
    keys: list[Any] = store.list_keys()
    keys.sort(key=lambda key: (key == newest, key.run_id.run_time), reverse=True)
    for key in keys[KEPT_REPORTS:]:
        store.remove_key(key)  # type: ignore[no-untyped-call]
        *folders, name = key.to_tuple()
        page = pages.joinpath(*folders) / f"{name}.html"
        page.unlink(missing_ok=True)
        with suppress(OSError):
            page.parent.rmdir()
            page.parent.parent.rmdir()
