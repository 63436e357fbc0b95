"""Resolve a model's job among its own assets: a selection in, a job out. Never looks at another model's assets."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from selfheal_assets.stages.identity import MODEL_TAG

_PARTS: WeakKeyDictionary[AssetGraph, Mapping[str, AssetGraph]] = WeakKeyDictionary()


class ModelJob(UnresolvedAssetJobDefinition):
    """What `dg.define_asset_job` gives, of one model.

    Dagster looks at every asset of the code location for every job: with the square of the models. No asset of a model
    depends on one of another, so its own are enough.
    """

    @property
    def model(self) -> str:
        """By the tag that each of its runs carries."""
        return str((self.tags or {})[MODEL_TAG])

    def resolve(
        self,
        asset_graph: AssetGraph,
        default_executor_def: dg.ExecutorDefinition | None = None,
        resource_defs: Mapping[str, dg.ResourceDefinition] | None = None,
    ) -> dg.JobDefinition:
        own = _parts(asset_graph).get(self.model, asset_graph)
        return super().resolve(own, default_executor_def, resource_defs)


def _parts(asset_graph: AssetGraph) -> Mapping[str, AssetGraph]:
    """The code location's assets by model."""
    found = _PARTS.get(asset_graph)
    if found is None:
        by_model = defaultdict[str, list[Any]](list)
        for assets in asset_graph.assets_defs:
            by_model[next(iter(assets.keys)).path[0]].append(assets)
        found = {model: AssetGraph.from_assets(assets) for model, assets in by_model.items()}
        _PARTS[asset_graph] = found
    return found
