"""Judge a batch from the outcomes of its checks: clean, partly bad or quarantined. Never evaluates a check."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from selfheal_assets.core.quality import CheckOutcome, CheckStatus


class BatchVerdict(StrEnum):
    CLEAN = "CLEAN"
    """Every row may go on."""
    PARTIAL = "PARTIAL"
    """The bad rows are quarantined, the others go on."""
    QUARANTINED = "QUARANTINED"
    """No row goes on."""


@dataclass(frozen=True, kw_only=True)
class BatchJudgement:
    """What happens to a batch, and why."""

    verdict: BatchVerdict
    bad_rows: tuple[int, ...]
    """Positions (0-based, ascending) of the rows that failed an `error` check; kept when the whole batch is held."""
    reasons: tuple[str, ...]
    """One a fact that counted against the batch; empty when it is clean."""


def judge_batch(outcomes: Sequence[CheckOutcome], rows: int, max_bad_row_share: float) -> BatchJudgement:
    """Split a batch of `rows` rows by the outcomes of its `error` checks; a `warn` never holds anything back.

    Quarantines the whole batch when it has no rows, when an `error` check failed on the table, when one could not be
    run (UNKNOWN is never CLEAR), or when the bad rows of all checks together are more than `max_bad_row_share` of it.
    """
    if rows <= 0:
        return BatchJudgement(
            verdict=BatchVerdict.QUARANTINED, bad_rows=(), reasons=("the batch has no rows: nothing could be checked",)
        )
    errors = [outcome for outcome in outcomes if outcome.check.severity == "error"]
    blaming = [outcome for outcome in errors if outcome.blames_rows and outcome.failing_rows]
    bad_rows = tuple(sorted({row for outcome in blaming for row in outcome.failing_rows}))
    whole = [
        _reason(outcome)
        for outcome in errors
        if outcome.status is not CheckStatus.PASSED and not (outcome.blames_rows and outcome.failing_rows)
    ]
    share = len(bad_rows) / rows
    if share > max_bad_row_share:
        whole.append(
            f"{len(bad_rows)} of {rows} rows are bad: {share:.2%} is more than the {max_bad_row_share:.2%} allowed"
        )
    reasons = (*whole, *(_reason(outcome) for outcome in blaming))
    partial = BatchVerdict.PARTIAL if bad_rows else BatchVerdict.CLEAN
    return BatchJudgement(verdict=BatchVerdict.QUARANTINED if whole else partial, bad_rows=bad_rows, reasons=reasons)


def _reason(outcome: CheckOutcome) -> str:
    detail = outcome.reason or f"observed {outcome.observed}"
    if outcome.status is CheckStatus.ERRORED:
        return f"{outcome.check.name} could not be evaluated: {detail}"
    return f"{outcome.check.name} failed: {detail}"
