"""Look up the serving champion and its reference. Never moves an alias."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import ModelVersion, Services

if TYPE_CHECKING:
    import pandas as pd

CHAMPION, PREVIOUS = "champion", "previous"
SCORE = "score"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The frozen rows that a champion was proven on: features, label, and the champion's scores."""

    rows: "pd.DataFrame"
    profile: dict[str, Any]
    """Keys: metric, metric_name, importance (share of gain by feature), score_counts (of its holdout, by bucket),
    decision_id, batch_ids."""


def champion(services: Services, spec: ModelSpec) -> ModelVersion | None:
    return services.registry.by_alias(spec.name, CHAMPION)


def reference_of(services: Services, spec: ModelSpec, version: str) -> Reference | None:
    """The reference of a version; None while it is not complete."""
    profile = services.batches.read_document(spec.name, f"reference-{version}")
    if profile is None:
        return None
    return Reference(rows=services.batches.read(spec.name, "reference", version), profile=profile)


def reference_scores(services: Services, spec: ModelSpec, version: str) -> list[int] | None:
    """The version's scores on its own holdout, counted in the buckets of the servers' histograms; no rows are read."""
    profile = services.batches.read_document(spec.name, f"reference-{version}")
    return profile.get("score_counts") if profile else None


def reference_rows(services: Services, spec: ModelSpec) -> "pd.DataFrame | None":
    """The champion's reference rows, or None before the first champion."""
    serving = champion(services, spec)
    reference = reference_of(services, spec, serving.version) if serving else None
    return reference.rows if reference else None
