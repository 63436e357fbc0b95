"""A person's dealings with quarantine: list, show, release, discard. Never lets a row in past the checks."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.errors import BatchError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.stages.batch_records import BatchStatus, settle
from selfheal_assets.stages.identity import partitions
from selfheal_assets.stages.release import Release, checked_release
from selfheal_assets.wiring import Services

if TYPE_CHECKING:
    import pandas as pd

IN_QUARANTINE = (BatchStatus.QUARANTINED, BatchStatus.PARTIAL)
LISTED = 1_000


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """One batch with rows, or bytes, in quarantine."""

    settled: Record
    rows: "pd.DataFrame | None"
    """None when the file was not a table."""
    reason: dict[str, Any]
    folder: Path


def quarantined(services: Services, spec: ModelSpec) -> list[Record]:
    """The last settlement of each batch that is in quarantine in whole or part, newest first."""
    return services.ledger.recent_subjects(spec.name, RecordKind.BATCH_SETTLED, statuses=IN_QUARANTINE, limit=LISTED)


def look_at(services: Services, spec: ModelSpec, batch_id: str) -> Quarantined:
    """The rows, the reason and the place of one quarantined batch."""
    settled = services.ledger.current(spec.name, RecordKind.BATCH_SETTLED, [batch_id]).get(batch_id)
    if settled is None or settled.status not in IN_QUARANTINE:
        raise BatchError(
            f"The batch must be in quarantine; received {batch_id!r}, which is "
            f"{settled.status if settled else 'unknown'}. See `selfheal quarantine list {spec.name}`."
        )
    rows, reason = services.batches.read_quarantine(spec.name, batch_id)
    return Quarantined(
        settled=settled, rows=rows, reason=reason, folder=services.batches.quarantine(spec.name, batch_id)
    )


def release(
    services: Services,
    spec: ModelSpec,
    batch_id: str,
    *,
    reason: str,
    approved_by: str,
    waive: list[str],
    repaired: Path | None,
) -> BatchStatus:
    """Run `m_release_quarantine` for the batch here, recorded in the Dagster instance; what became of the batch."""
    from dagster import DagsterInstance

    from selfheal_assets.operations.in_process import InProcessLoop

    look_at(services, spec, batch_id)
    wanted = Release(
        reason=reason,
        approved_by=approved_by,
        waive=waive,
        repaired_file=str(repaired.absolute()) if repaired else "",
    )
    checked_release(services, spec, batch_id, wanted)
    with DagsterInstance.get() as instance:
        loop = InProcessLoop(services, spec, instance)
        # Its partition may have been retired since.
        instance.add_dynamic_partitions(str(partitions(spec).name), [batch_id])
        run_config = {"ops": {f"{spec.name}__checked_batch": {"config": wanted.model_dump()}}}
        if not loop.run("release_quarantine", partition_key=batch_id, run_config=run_config):
            raise BatchError(
                f"The release must run to its end; received a failed run for {batch_id!r}. "
                "Nothing was lost: open the run in the Dagster UI for the reason, then release again."
            )
    settled = services.ledger.current(spec.name, RecordKind.BATCH_SETTLED, [batch_id])[batch_id]
    return BatchStatus(settled.status)


def discard(services: Services, spec: ModelSpec, batch_id: str, *, reason: str) -> None:
    """Give the quarantined part up: it stays on disk, put aside, and is not listed any more."""
    found = look_at(services, spec, batch_id)
    clean = services.batches.has(spec.name, "clean", batch_id)
    counts = {k: v for k, v in found.settled.payload.items() if k not in ("reasons", "landed_at")}
    status = BatchStatus.CLEAN if clean else BatchStatus.DISCARDED
    settle(
        services,
        spec,
        batch_id,
        status,
        reasons=[f"discarded: {reason}"],
        event_time=found.settled.event_time,
        **counts,
    )
    services.batches.retire_quarantine(spec.name, batch_id)
