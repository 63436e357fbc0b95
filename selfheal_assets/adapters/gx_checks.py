"""Evaluate declared checks over a batch with Great Expectations: one outcome a check. Never changes the batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters import gx_data_docs
from selfheal_assets.adapters.freed_memory import give_back
from selfheal_assets.adapters.gx_expectations import CheckedBatch, asked_together, frame_of
from selfheal_assets.adapters.gx_outcomes import read_outcome
from selfheal_assets.adapters.gx_project import expectation_types, open_project
from selfheal_assets.adapters.sql_checks import SAMPLE_ROWS
from selfheal_assets.core.quality import Check, CheckOutcome
from selfheal_assets.ports import BatchRows, CheckContext, FrameRows

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationValidationResult

_FORMAT = {"result_format": "COMPLETE", "partial_unexpected_count": SAMPLE_ROWS, "return_unexpected_index_query": False}


class GreatExpectationsChecks:
    """QualityChecks by GX over pandas; singular SQL by DuckDB. Data Docs stand under `home/data_docs/<model>/`."""

    def __init__(self, home: Path | None) -> None:
        """Without a home no Data Docs are written."""
        self._folder = Path(home).absolute() / "data_docs" if home else None

    def evaluate(
        self, rows: "pd.DataFrame | BatchRows", checks: Sequence[Check], context: CheckContext
    ) -> list[CheckOutcome]:
        """One outcome a check, in the order of `checks`; positions are those of the rows, whatever a frame's index.

        Of a batch larger than a part, each check is evaluated by itself, on the columns that it looks at.
        """
        import pandas as pd

        batch_rows = FrameRows(rows) if isinstance(rows, pd.DataFrame) else rows
        outcomes: dict[str, CheckOutcome] = {}
        planned, results = list[Any](), list[Any]()
        for columns, group in asked_together(batch_rows, checks, context.event_timestamp):
            batch = CheckedBatch(batch_rows, context, columns)
            found = _evaluated(batch, group)
            outcomes.update({check.name: outcome for check, outcome in zip(group, found.outcomes, strict=True)})
            planned += [expectation for _, expectations in batch.planned for expectation in expectations]
            results += [gx_data_docs.shortened(result) for result in found.results]
            if columns is not None:
                del batch, found
                give_back()
        if results and self._folder:
            gx_data_docs.publish(self._folder / context.model, context, planned, results)
        return [outcomes[check.name] for check in checks]

    def report_uri(self, model: str) -> str | None:
        """The `file://` address of the model's Data Docs, or None before its first batch."""
        if self._folder is None:
            return None
        index = self._folder / model / "site" / "index.html"
        return index.as_uri() if index.is_file() else None


@dataclass(frozen=True, kw_only=True)
class _Evaluated:
    """What checks found together: an outcome each, and what Great Expectations said."""

    outcomes: list[CheckOutcome]
    results: "list[ExpectationValidationResult]"


def _evaluated(batch: CheckedBatch, checks: Sequence[Check]) -> _Evaluated:
    settled = {check.name: batch.plan(check) for check in checks}
    try:
        results = _validate(batch) if batch.planned else {}
        unknown = "Great Expectations gave no result"
    except Exception as error:  # GX passes on whatever its parts raise; none of it may stop an ingest.
        results, unknown = {}, f"Great Expectations could not run: {type(error).__name__}: {error}"
    outcomes = [
        settled[check.name] or read_outcome(check, results.get(check.name, []), batch, unknown) for check in checks
    ]
    return _Evaluated(outcomes=outcomes, results=[result for found in results.values() for result in found])


def _validate(batch: CheckedBatch) -> "dict[str, list[ExpectationValidationResult]]":
    """Results by check name; positions in them count the rows of the batch."""
    expectation_types()
    from great_expectations.core import ExpectationSuite

    project = open_project(None)
    source = project.data_sources.add_pandas("batch")
    found: dict[str, list[ExpectationValidationResult]] = {}
    for name, frame in batch.frames.items():
        wanted = [
            expectation
            for check, expectations in batch.planned
            for expectation in expectations
            if frame_of(check) == name
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
