"""The way back out of quarantine: a named, logged waiver or repair of one batch. Never lets rows in unchecked."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from selfheal_assets.core.errors import BatchError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.project import home_from_environment, may_read
from selfheal_assets.stages.served_rows import repaired_event_rows

if TYPE_CHECKING:
    import pandas as pd


class Release(dg.Config):
    """Set only by the job `m_release_quarantine`; an ordinary ingest leaves all of it empty."""

    reason: str = ""
    """Why the batch may be tried again. Not empty: this run is a release."""
    approved_by: str = ""
    waive: list[str] = []  # noqa: RUF012 - a pydantic field, copied per instance
    """Names of checks that do not count for this batch."""
    repaired_file: str = ""
    """CSV or Parquet file with the rows that replace the quarantined ones."""


def start_release(
    context: dg.AssetExecutionContext, services: Services, spec: ModelSpec, batch_id: str, release: Release
) -> None:
    """Record the waiver and keep the repaired rows, once a run; nothing for an ordinary ingest."""
    if not (release.reason or release.waive or release.repaired_file):
        return
    earlier = services.ledger.newest(spec.name, RecordKind.WAIVER, subject=batch_id)
    if earlier and earlier[0].payload["run_id"] == context.run.run_id:
        return
    repaired = checked_release(services, spec, batch_id, release)
    if repaired is not None:
        _keep_repaired(services, spec, batch_id, repaired)
    number = 1 + (int(earlier[0].payload["attempt"]) if earlier else 0)
    now = services.clock.now()
    services.ledger.append(
        Record(
            key=f"waiver:{spec.name}:{batch_id}:{number}",
            model=spec.name,
            kind=RecordKind.WAIVER,
            subject=batch_id,
            status="RELEASED",
            event_time=now,
            recorded_at=now,
            payload={"attempt": number, "run_id": context.run.run_id, **release.model_dump()},
        )
    )


def checked_release(services: Services, spec: ModelSpec, batch_id: str, release: Release) -> "pd.DataFrame | None":
    """The repaired rows, when the release brings any. Raises BatchError for a release that cannot be."""
    if not release.reason.strip():
        raise BatchError("A release must say why; received waived checks or repaired rows without it. Add `reason`.")
    if not (release.waive or release.repaired_file):
        raise BatchError(
            "A release must change something, or the same checks give the same answer; received neither waived checks "
            "nor a repaired file. Name checks in `waive`, or give the corrected rows."
        )
    known = {check.name for check in services.declared_checks(spec)}
    unknown = sorted(set(release.waive) - known)
    if unknown:
        raise BatchError(
            f"Only declared checks can be waived; received {unknown}. The model's checks are {sorted(known)}."
        )
    services.batches.read_quarantine(spec.name, batch_id)
    if not release.repaired_file:
        return None
    file = Path(release.repaired_file)
    if not may_read(file):
        raise BatchError(
            f"In production a repaired file must lie in the home, {home_from_environment()}; received {file}. "
            "Put it there."
        )
    return services.batches.read_file(file, services.declared_types(spec))


def _keep_repaired(services: Services, spec: ModelSpec, batch_id: str, repaired: "pd.DataFrame") -> None:
    """Beside the batch's clean rows, where it has any: the repaired ones replace those in quarantine."""
    import pandas as pd

    repaired = repaired_event_rows(services, spec, batch_id, repaired)
    if services.batches.has(spec.name, "clean", batch_id):
        repaired = pd.concat([services.batches.read(spec.name, "clean", batch_id), repaired], ignore_index=True)
    services.batches.write(spec.name, "repaired", batch_id, repaired)
