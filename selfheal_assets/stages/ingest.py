"""Ingest: a landed file in, the raw batch out, typed and durable. Never judges the rows."""

import dagster as dg
import numpy as np

from selfheal_assets.core.errors import FileWithdrawnError, UnreadableFileError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.ports import Services
from selfheal_assets.stages.batch_records import BatchStatus, settle
from selfheal_assets.stages.identity import attributes, by_batch, key
from selfheal_assets.stages.metadata import table
from selfheal_assets.stages.served_rows import event_rows, shown


def raw_batch(spec: ModelSpec, types: dict[str, str]) -> dg.AssetsDefinition:
    """The asset `m/raw_batch`. `types` are the columns' declared types."""

    @dg.asset(
        **attributes(spec, "raw_batch", "parquet"),
        **by_batch(spec),
        description="The landed file, typed and normalized to Parquet; every column and row as it came.",
    )
    def raw_batch(context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]) -> None:
        for batch_id in context.partition_keys:
            metadata = _take(context, selfheal, spec, types, batch_id)
            context.add_asset_metadata(metadata, key(spec, "raw_batch"), batch_id)

    return raw_batch


def _take(
    context: dg.AssetExecutionContext, selfheal: Services, spec: ModelSpec, types: dict[str, str], batch_id: str
) -> dict[str, dg.MetadataValue]:
    registered = selfheal.ledger.newest(spec.name, RecordKind.BATCH_REGISTERED, subject=batch_id)[0]
    name = registered.payload["file_name"]
    if selfheal.batches.has(spec.name, "repaired", batch_id):
        return {"repaired": dg.MetadataValue.bool(True)}  # A release brought these rows: the landed ones are past.
    try:
        landed = selfheal.batches.take(spec.name, batch_id, name, types)
    except UnreadableFileError as error:
        _quarantine_bytes(selfheal, spec, batch_id, name, str(error))
        context.log.warning(str(error))
        return {"verdict": dg.MetadataValue.text("QUARANTINED"), "reason": dg.MetadataValue.text(str(error))}
    except FileWithdrawnError as error:
        settle(selfheal, spec, batch_id, BatchStatus.WITHDRAWN, reasons=[str(error)])
        context.log.warning(str(error))
        return {"verdict": dg.MetadataValue.text("WITHDRAWN"), "reason": dg.MetadataValue.text(str(error))}
    rows = event_rows(selfheal, spec, batch_id, landed)
    return {
        "dagster/row_count": dg.MetadataValue.int(len(landed)),
        "file": dg.MetadataValue.text(name),
        "columns": dg.MetadataValue.int(len(landed.columns)),
        "head": table(rows.at(np.arange(min(5, len(rows))))),
        "path": dg.MetadataValue.path(selfheal.batches.path(spec.name, "raw", batch_id)),
        **shown(selfheal, spec, batch_id),
    }


def _quarantine_bytes(selfheal: Services, spec: ModelSpec, batch_id: str, name: str, reason: str) -> None:
    selfheal.batches.write_quarantine(
        spec.name, batch_id, None, {"file_name": name, "reasons": [reason], "at": selfheal.clock.now()}
    )
    settle(selfheal, spec, batch_id, BatchStatus.QUARANTINED, reasons=[reason])
