"""Judge the labels that came for a batch by the declared checks: its rows in, a LABELS record out. Never learns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from selfheal_assets.core.batch_gate import BatchVerdict, judge_batch
from selfheal_assets.core.evidence import Evidence
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.quality import Check
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Overlay, Services
from selfheal_assets.stages.batch_records import IMMATURE, MATURED, REFUSED, quality_of
from selfheal_assets.stages.checked_rows import check_context, labels_suffice, waived_checks
from selfheal_assets.stages.current_labels import labels_as_told

if TYPE_CHECKING:
    import pandas as pd


def label_checks(services: Services, spec: ModelSpec) -> list[Check]:
    """The declared checks that judge the labels of a batch taken together."""
    return [check for check in services.declared_checks(spec) if check.waits_for_labels(spec.data.label)]


def labels_record(
    services: Services,
    spec: ModelSpec,
    settled: Record,
    clean: "pd.DataFrame",
    overlay: Overlay,
    *,
    files: Sequence[str],
    checks: Sequence[Check],
) -> Record:
    """What is known of a batch's labels once `overlay` is laid over its `clean` rows: MATURED, IMMATURE or REFUSED.

    `settled` is the batch's last BATCH_SETTLED record, `files` are those that brought labels.
    """
    batch_id = settled.subject
    rows = labels_as_told(services, spec, batch_id, clean)
    labelled = int(rows[spec.data.label].count())
    refused = _refused(services, spec, batch_id, rows, checks) if labels_suffice(spec, labelled, len(rows)) else []
    matured = labelled / len(rows)
    status = MATURED if matured >= spec.performance.min_matured else IMMATURE
    return Record(
        # By what stands there, not by who wrote it: a join that was killed before this line is made good by the next.
        key=f"labels:{spec.name}:{batch_id}:{overlay.digest}:{labelled}:{len(rows)}{':refused' if refused else ''}",
        model=spec.name,
        kind=RecordKind.LABELS,
        subject=batch_id,
        status=REFUSED if refused else status,
        event_time=settled.event_time,
        recorded_at=services.clock.now(),
        payload={
            "rows": len(rows),
            "labelled_rows": labelled,
            "matured": matured,
            "corrections": overlay.corrections,
            "files": sorted(files),
            "refused": refused,
        },
    )


def label_quality(services: Services, spec: ModelSpec, batch_id: str) -> Evidence | None:
    """QUALITY of the batch with its labels, where these are refused, or were until now; None where they never were."""
    last = services.ledger.newest(spec.name, RecordKind.LABELS, subject=batch_id, limit=2)
    if all(record.status != REFUSED for record in last):
        return None
    settled = services.ledger.current(spec.name, RecordKind.BATCH_SETTLED, [batch_id])[batch_id]
    return quality_of(spec, settled, last[0])


def _refused(
    services: Services, spec: ModelSpec, batch_id: str, rows: "pd.DataFrame", checks: Sequence[Check]
) -> list[str]:
    """Why the labels cannot be used; empty when they can. What a release of the batch waived does not count."""
    waived = waived_checks(services, spec, batch_id) if checks else ()
    asked = [check for check in checks if check.name not in waived]
    if not asked:
        return []
    outcomes = services.checks.evaluate(rows, asked, check_context(services, spec, batch_id))
    judgement = judge_batch(outcomes, len(rows), spec.quality.max_bad_row_share)
    return list(judgement.reasons) if judgement.verdict is BatchVerdict.QUARANTINED else []
