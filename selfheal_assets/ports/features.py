"""Where features come from and how they are compared, and the values that cross. Never imports an adapter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports.batch_rows import BatchRows

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Published:
    """What one batch added to the feature store."""

    offline_rows: Mapping[str, int]
    """Rows written, by feature view."""
    online_rows: int
    """Entities refreshed in the online store."""
    materialized_until: datetime | None
    """Event time up to which the online store is fresh."""


class FeatureStore(Protocol):
    """Point-in-time features of a model."""

    def names(self, spec: ModelSpec) -> list[str]:
        """The model's features in order: request columns, then those of the feature service."""
        ...

    def publish(self, spec: ModelSpec, batch_id: str, rows: "pd.DataFrame | BatchRows") -> Published:
        """Compute and add the features of the clean rows, offline and online. Twice changes nothing."""
        ...

    def historical(self, spec: ModelSpec, rows: "pd.DataFrame") -> "pd.DataFrame":
        """Features as they were known at each row's event time: one row out for each in, same order and index.

        `rows` has the event id, timestamp, entities and request columns; the result has those of `names` only.
        """
        ...

    def online(self, spec: ModelSpec, rows: "pd.DataFrame") -> "pd.DataFrame":
        """Features as they are now, for entities and request columns; same shape rules as `historical`."""
        ...


@dataclass(frozen=True, kw_only=True)
class TwoSampleTest:
    """One feature's answer."""

    test: str
    statistic: float
    p_value: float


class DriftDetector(Protocol):
    """Two-sample tests, one a feature. Sees complete values only: the caller handles missing ones."""

    def compare(
        self, reference: "pd.DataFrame", batch: "pd.DataFrame", categorical: Sequence[str]
    ) -> dict[str, TwoSampleTest]:
        """Kolmogorov-Smirnov for numbers, chi-squared for categories; both frames have the same columns."""
        ...
