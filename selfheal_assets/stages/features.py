"""Features: clean rows in; the feature store extended, the batch's features out. Never sees quarantine."""

from typing import Any

import dagster as dg
import numpy as np

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import Services
from selfheal_assets.stages.feature_frame import feature_frame
from selfheal_assets.stages.identity import attributes, by_batch, key
from selfheal_assets.stages.metadata import table


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
    clean = selfheal.batches.rows(spec.name, "clean", batch_id)
    published = selfheal.features.publish(spec, batch_id, clean)
    with selfheal.batches.writing(spec.name, "features", batch_id) as add:
        for part in clean.parts():
            add(feature_frame(selfheal, spec, part))
    made = selfheal.batches.rows(spec.name, "features", batch_id)
    return {
        "dagster/row_count": dg.MetadataValue.int(len(made)),
        "offline_rows": dg.MetadataValue.json(dict(published.offline_rows)),
        "online_entities": dg.MetadataValue.int(published.online_rows),
        "online_until": dg.MetadataValue.text(str(published.materialized_until)),
        "head": table(made.at(np.arange(min(5, len(made))))),
        "path": dg.MetadataValue.path(selfheal.batches.path(spec.name, "features", batch_id)),
    }
