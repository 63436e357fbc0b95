"""Judge a batch's rows by the declared checks: rows in, the clean ones and the others out. Never changes a value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from selfheal_assets.core.batch_gate import BatchJudgement, BatchVerdict, judge_batch
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.quality import Check, CheckOutcome, CheckStatus
from selfheal_assets.core.record import RecordKind
from selfheal_assets.ports import BatchRows, CheckContext, Services
from selfheal_assets.stages.batch_records import BatchStatus, settle
from selfheal_assets.stages.champion import reference_rows
from selfheal_assets.stages.current_labels import labels_of
from selfheal_assets.stages.usable_rows import unusable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class JudgedRows:
    """One batch after its checks ran."""

    rows: BatchRows
    outcomes: Sequence[CheckOutcome]
    judgement: BatchJudgement
    waived: frozenset[str]

    def split(self) -> "tuple[pd.DataFrame, pd.DataFrame]":
        """Clean rows, quarantined rows; together exactly the rows received."""
        return _divided(self.rows.frame(), self._bad())

    def parts(self, columns: Sequence[str] | None = None) -> "Iterator[tuple[pd.DataFrame, pd.DataFrame]]":
        """The same, a part of the batch at a time; `columns`: of these only."""
        bad, begin = self._bad(), 0
        for part in self.rows.parts(columns):
            yield _divided(part, bad[begin : begin + len(part)])
            begin += len(part)

    def head(self, rows: int, *, clean: bool = True) -> "pd.DataFrame":
        """The first clean rows, or the first that are not."""
        import numpy as np

        bad = self._bad()
        return self.rows.at(np.flatnonzero(~bad if clean else bad)[:rows])

    @property
    def bad_rows(self) -> int:
        return int(self._bad().sum())

    def _bad(self) -> "np.ndarray":
        import numpy as np

        whole = self.judgement.verdict is BatchVerdict.QUARANTINED
        bad = np.full(len(self.rows), whole)
        bad[list(self.judgement.bad_rows)] = True
        return bad


def _divided(rows: "pd.DataFrame", bad: "np.ndarray") -> "tuple[pd.DataFrame, pd.DataFrame]":
    return rows[~bad].reset_index(drop=True), rows[bad].reset_index(drop=True)


def judged_rows(
    selfheal: Services,
    spec: ModelSpec,
    checks: Sequence[Check],
    batch_id: str,
    rows: BatchRows,
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
    if reasons := unusable(spec, (clean for clean, _ in judged.parts(_needed(spec, rows)))):
        whole = replace(
            judgement, verdict=BatchVerdict.QUARANTINED, reasons=(*dict.fromkeys((*reasons, *judgement.reasons)),)
        )
        return replace(judged, judgement=whole)
    return judged


def _needed(spec: ModelSpec, rows: BatchRows) -> list[str]:
    """Of the columns that the later stages read, those that are there."""
    data = spec.data
    needed = [data.event_id, data.event_timestamp, data.label, *data.entities, *spec.features.request]
    return [name for name in dict.fromkeys(needed) if name in rows.columns]


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


def _labels_suffice(spec: ModelSpec, rows: BatchRows) -> bool:
    """Rows without the column are for the checks to blame."""
    label = spec.data.label
    return label not in rows.columns or labels_suffice(spec, int(rows.frame([label])[label].count()), len(rows))


def _unasked(check: Check) -> CheckOutcome:
    why = "too few labels are known; judged when they come"
    return CheckOutcome(check=check, status=CheckStatus.PASSED, observed=None, reason=why)


def settle_judged(selfheal: Services, spec: ModelSpec, batch_id: str, judged: JudgedRows) -> None:
    """Record what became of the batch by its checks; its parts must stand already."""
    data, labelled, first = spec.data, 0, None
    for clean, _ in judged.parts(_needed(spec, judged.rows)):
        if len(clean):
            labelled += int(labels_of(selfheal, spec, batch_id, clean)[data.label].count())
            begun = clean[data.event_timestamp].min().to_pydatetime()
            first = begun if first is None else min(first, begun)
    settle(
        selfheal,
        spec,
        batch_id,
        BatchStatus(judged.judgement.verdict),
        reasons=list(judged.judgement.reasons),
        # The batch's place in time is its first clean event; None leaves it to the order of the record.
        event_time=first,
        rows_landed=len(judged.rows),
        rows_clean=len(judged.rows) - judged.bad_rows,
        rows_quarantined=judged.bad_rows,
        labelled_rows=labelled,
    )
