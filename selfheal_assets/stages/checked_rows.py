"""Judge a batch's rows by the declared checks: rows in, the clean ones and the others out. Never changes a value."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.batch_gate import BatchJudgement, BatchVerdict, judge_batch
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.quality import Check, CheckOutcome, CheckStatus
from selfheal_assets.core.record import RecordKind
from selfheal_assets.ports import CheckContext, Services
from selfheal_assets.stages.batch_records import BatchStatus, settle
from selfheal_assets.stages.champion import reference_rows
from selfheal_assets.stages.current_labels import labels_of
from selfheal_assets.stages.usable_rows import unusable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class JudgedRows:
    """One batch after its checks ran."""

    rows: "pd.DataFrame"
    outcomes: Sequence[CheckOutcome]
    judgement: BatchJudgement
    waived: frozenset[str]

    def split(self) -> "tuple[pd.DataFrame, pd.DataFrame]":
        """Clean rows, quarantined rows; together exactly the rows received."""
        if self.judgement.verdict is BatchVerdict.QUARANTINED:
            return self.rows.iloc[:0], self.rows
        bad = self.rows.index.isin(self.judgement.bad_rows)
        return self.rows[~bad].reset_index(drop=True), self.rows[bad].reset_index(drop=True)


def judged_rows(
    selfheal: Services,
    spec: ModelSpec,
    checks: Sequence[Check],
    batch_id: str,
    rows: "pd.DataFrame",
    waived: frozenset[str] = frozenset(),
) -> JudgedRows:
    """The rows with every check's outcome and the verdict; the outcomes of `waived` checks do not count."""
    waiting = [] if _labels_suffice(spec, rows) else [c for c in checks if c.waits_for_labels(spec.data.label)]
    asked = [check for check in checks if check not in waiting]
    found = {o.check.name: o for o in selfheal.checks.evaluate(rows, asked, check_context(selfheal, spec, batch_id))}
    outcomes = [found.get(check.name) or _unasked(check) for check in checks]
    counted = [outcome for outcome in outcomes if outcome.check.name not in waived]
    judgement = judge_batch(counted, len(rows), spec.quality.max_bad_row_share)
    judged = JudgedRows(rows=rows, outcomes=outcomes, judgement=judgement, waived=waived)
    if reasons := unusable(spec, judged.split()[0]):
        whole = replace(
            judgement, verdict=BatchVerdict.QUARANTINED, reasons=(*dict.fromkeys((*reasons, *judgement.reasons)),)
        )
        return replace(judged, judgement=whole)
    return judged


def check_context(selfheal: Services, spec: ModelSpec, batch_id: str) -> CheckContext:
    """What the checks of a batch look at besides its rows."""
    return CheckContext(
        model=spec.name,
        batch_id=batch_id,
        now=selfheal.clock.now(),
        event_timestamp=spec.data.event_timestamp,
        reference=reference_rows(selfheal, spec),
        earlier=selfheal.batches.earlier(spec.name, batch_id),
    )


def waived_checks(services: Services, spec: ModelSpec, batch_id: str) -> frozenset[str]:
    """Those that the last release of the batch waived, by name."""
    waivers = services.ledger.newest(spec.name, RecordKind.WAIVER, subject=batch_id)
    return frozenset(waivers[0].payload["waive"]) if waivers else frozenset()


def labels_suffice(spec: ModelSpec, labelled: int, rows: int) -> bool:
    """Whether so many labels say something of the labels of all rows."""
    return labelled >= max(spec.drift.min_rows, spec.performance.min_matured * rows)


def _labels_suffice(spec: ModelSpec, rows: "pd.DataFrame") -> bool:
    """Rows without the column are for the checks to blame."""
    return spec.data.label not in rows or labels_suffice(spec, int(rows[spec.data.label].count()), len(rows))


def _unasked(check: Check) -> CheckOutcome:
    why = "too few labels are known; judged when they come"
    return CheckOutcome(check=check, status=CheckStatus.PASSED, observed=None, reason=why)


def settle_judged(selfheal: Services, spec: ModelSpec, batch_id: str, judged: JudgedRows) -> None:
    """Record what became of the batch by its checks; its parts must stand already."""
    clean, bad = judged.split()
    settle(
        selfheal,
        spec,
        batch_id,
        BatchStatus(judged.judgement.verdict),
        reasons=list(judged.judgement.reasons),
        event_time=first_event(spec, clean),
        rows_landed=len(judged.rows),
        rows_clean=len(clean),
        rows_quarantined=len(bad),
        labelled_rows=int(labels_of(selfheal, spec, batch_id, clean)[spec.data.label].count()) if len(clean) else 0,
    )


def first_event(spec: ModelSpec, clean: "pd.DataFrame") -> Any:
    """The batch's place in time: its first clean event; None leaves it to the order of the record."""
    return clean[spec.data.event_timestamp].min().to_pydatetime() if len(clean) else None
