"""Publish a batch's results as Great Expectations Data Docs, the newest only. Never costs a batch its outcomes."""

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.gx_project import open_project
from selfheal_assets.ports import CheckContext

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.store.validation_results_store import ValidationResultsStore
    from great_expectations.data_context.types.resource_identifiers import ValidationResultIdentifier
    from great_expectations.expectations.expectation import Expectation

KEPT_REPORTS = 50
_LOG = logging.getLogger(__name__)


def publish(
    folder: Path,
    context: CheckContext,
    expectations: "list[Expectation]",
    results: "list[ExpectationValidationResult]",
) -> None:
    """Store the results and rebuild the Data Docs; a failure costs the report, never the outcomes."""
    from great_expectations.core import ExpectationSuite
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    model, batch_name = context.model, re.sub(r"[^A-Za-z0-9_-]", "-", context.batch_id)[-100:]
    suite, run = ExpectationSuiteIdentifier(model), RunIdentifier(run_name=batch_name, run_time=context.now)
    key = ValidationResultIdentifier(expectation_suite_identifier=suite, run_id=run, batch_identifier=batch_name)
    try:
        project = open_project(folder)
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


def shortened(result: "ExpectationValidationResult") -> "ExpectationValidationResult":
    """The same result, cut short: what it says for people, and no more than that."""
    result.success = bool(result.success)  # NumPy's own booleans are no JSON.
    result.result = _short(result.result)
    return result


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
