"""Features: clean rows in; the feature store extended, the batch's features out. Never sees quarantine."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import Services
from selfheal_assets.stages.identity import attributes, by_batch, key
from selfheal_assets.stages.metadata import table

if TYPE_CHECKING:
    import pandas as pd


def features(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/features`."""

    @dg.asset(
        **attributes(spec, "features", "feast", "duckdb"),
        **by_batch(spec),
        deps=[key(spec, "clean_batch")],
        description=f"Clean rows as Feast features of the service {spec.features.service}, offline and online.",
    )
    def features(context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]) -> None:
        for batch_id in context.partition_keys:
            if not selfheal.batches.has(spec.name, "clean", batch_id):
                context.log.info(f"{batch_id} has no clean rows: nothing to publish")
                continue
            metadata = _publish(selfheal, spec, batch_id)
            context.add_asset_metadata(metadata, key(spec, "features"), batch_id)

    return features


def _publish(selfheal: Services, spec: ModelSpec, batch_id: str) -> dict[str, Any]:
    clean = selfheal.batches.read(spec.name, "clean", batch_id)
    published = selfheal.features.publish(spec, batch_id, clean)
    frame = feature_frame(selfheal, spec, clean)
    path = selfheal.batches.write(spec.name, "features", batch_id, frame)
    return {
        "dagster/row_count": dg.MetadataValue.int(len(frame)),
        "offline_rows": dg.MetadataValue.json(dict(published.offline_rows)),
        "online_entities": dg.MetadataValue.int(published.online_rows),
        "online_until": dg.MetadataValue.text(str(published.materialized_until)),
        "head": table(frame.head(5)),
        "path": dg.MetadataValue.path(path),
    }


def feature_frame(selfheal: Services, spec: ModelSpec, rows: "pd.DataFrame") -> "pd.DataFrame":
    """Event id, timestamp and label of the rows, then their features as of each event's own time."""
    import pandas as pd

    data = spec.data
    identity = rows[[data.event_id, data.event_timestamp, data.label]].reset_index(drop=True)
    known = selfheal.features.historical(spec, rows.reset_index(drop=True))
    return pd.concat([identity, known], axis=1)
