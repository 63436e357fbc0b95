"""The way back out of quarantine: a named, logged waiver or repair of one batch. Never lets rows in unchecked."""

from pathlib import Path

import dagster as dg

from selfheal_assets.core.errors import BatchError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Services


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
    if not release.reason:
        if release.waive or release.repaired_file:
            raise BatchError(
                "A release must say why; received waived checks or a repaired file without a reason. Add `reason`."
            )
        return
    earlier = services.ledger.newest(spec.name, RecordKind.WAIVER, subject=batch_id)
    if earlier and earlier[0].payload["run_id"] == context.run.run_id:
        return
    _check_names(services, spec, release)
    services.batches.read_quarantine(spec.name, batch_id)
    if release.repaired_file:
        _keep_repaired(services, spec, batch_id, Path(release.repaired_file))
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


def release_of(services: Services, spec: ModelSpec, batch_id: str) -> frozenset[str]:
    """The checks that the last release of the batch waived."""
    waivers = services.ledger.newest(spec.name, RecordKind.WAIVER, subject=batch_id)
    return frozenset(waivers[0].payload["waive"]) if waivers else frozenset()


def _check_names(services: Services, spec: ModelSpec, release: Release) -> None:
    known = {check.name for check in services.declared_checks(spec)}
    unknown = sorted(set(release.waive) - known)
    if unknown:
        raise BatchError(
            f"Only declared checks can be waived; received {unknown}. The model's checks are {sorted(known)}."
        )


def _keep_repaired(services: Services, spec: ModelSpec, batch_id: str, file: Path) -> None:
    import pandas as pd

    repaired = services.batches.read_file(file, services.declared_types(spec))
    if services.batches.has(spec.name, "clean", batch_id):
        repaired = pd.concat([services.batches.read(spec.name, "clean", batch_id), repaired], ignore_index=True)
    services.batches.write(spec.name, "repaired", batch_id, repaired)
