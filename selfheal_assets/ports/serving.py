"""What the model server is made of: features, who answers, a log of answers. Never imports an adapter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from selfheal_assets.core.golden_probe import GoldenProbe
from selfheal_assets.core.traffic import Arm, Traffic

if TYPE_CHECKING:
    import numpy as np

Table = Mapping[str, Sequence[Any]]
"""Columns by name, all of the same length; None is a missing value. Faster than a frame for one row."""


class FeatureLevel(StrEnum):
    """Where the features of an answer came from; the order is from best to worst."""

    LIVE = "live"
    """The feature store, within the deadline."""
    CACHED = "cached"
    """What the store said of the same entity earlier, not longer ago than `serving.cached_max_age_minutes`."""
    DEFAULT = "default"
    """`serving.defaults`."""


class OnlineStore(Protocol):
    """The feature store, as the model server asks it."""

    @property
    def stored(self) -> Mapping[str, str]:
        """The features that the store keeps, by name; the values are Feast's types ("Float64", "String", ...)."""
        ...

    @property
    def entity_types(self) -> Mapping[str, str]:
        """The join keys, with Feast's types."""
        ...

    @property
    def request_types(self) -> Mapping[str, str]:
        """Request columns that on-demand features are computed from, with Feast's types."""
        ...

    def names(self) -> list[str]:
        """The model's features in order: request columns, stored features, on-demand features."""
        ...

    def fetch(self, entities: Table, now: datetime) -> dict[str, list[Any]]:
        """Stored features by name, one value a row; what is older than its view's ttl at `now` is None.

        Blocks; raises FeatureError when the store does not answer.
        """
        ...

    def on_demand(self, stored: Table, request: Table) -> dict[str, list[Any]]:
        """On-demand features from stored ones and request columns; does not ask the store."""
        ...


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The features of n rows, and where each row's came from."""

    columns: Mapping[str, Sequence[Any]]
    """Every feature of the model, by name."""
    levels: Sequence[FeatureLevel]
    """(n,)"""


class ServedModel(Protocol):
    """A version that is loaded and answered its probe."""

    @property
    def version(self) -> str: ...

    @property
    def run_id(self) -> str: ...

    @property
    def loaded_at(self) -> datetime: ...

    @property
    def probe(self) -> GoldenProbe:
        """Rows whose scores are known since its validation."""
        ...

    def score(self, columns: Table) -> "np.ndarray":
        """(n,) probabilities of the label 1."""
        ...


@dataclass(frozen=True, kw_only=True)
class Line:
    """The versions that stand ready, and the split between them: replaced as a whole, never changed."""

    traffic: Traffic
    models: Mapping[str, ServedModel]
    """By version: the champion, and challenger and standby where there are."""


@dataclass(frozen=True, kw_only=True)
class Logged:
    """One answered row, as the prediction log keeps it."""

    event: Mapping[str, Any]
    """The row of the landed batch: event id, timestamp, entities, request and context columns."""
    features: Mapping[str, Any]
    """Stored and on-demand features as they were used."""
    version: str
    arm: Arm
    score: float
    level: FeatureLevel
    latency_ms: float
    scores: Mapping[str, float] = field(default_factory=dict)
    """Scores of all versions that scored the row, by arm."""
    rollout: str | None = None
    """Id of the rollout that is under way."""


class AnswerLog(Protocol):
    """Where every answer is kept until it lands as a batch."""

    def append(self, rows: Sequence[Logged]) -> None:
        """Take rows; returns at once. They are on disk within `serving.commit_ms`, or `trouble` says why not.

        Raises LogFullError when they cannot be taken.
        """
        ...

    @property
    def trouble(self) -> str | None:
        """Why answers are not being kept at present; None when they are."""
        ...

    def close(self) -> None:
        """Write down and land what there is."""
        ...
