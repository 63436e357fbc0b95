"""Stand in for what the stages read and write: frames and labels in memory, a clock that is set. Never on a disk."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from selfheal_assets.adapters.adwin import detect_rise
from selfheal_assets.adapters.in_memory import InMemoryLedger
from selfheal_assets.core.model_spec import DataSpec, DriftSpec, FeaturesSpec, ModelSpec
from selfheal_assets.ports import DriftDetector, FrameRows

MODEL = "alarms"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ID, TIME, LABEL = "event_id", "event_timestamp", "label"


def declared(categorical: tuple[str, ...], detector: str) -> ModelSpec:
    """The model, with every threshold as it is by default."""
    return ModelSpec(
        name=MODEL,
        description="the fixed scoring function of the alarm benchmark",
        owners=("team:benchmarks",),
        data=DataSpec(event_id=ID, event_timestamp=TIME, label=LABEL, entities=("who",)),
        features=FeaturesSpec(service=MODEL, categorical=categorical),
        drift=DriftSpec(detector="alibi" if detector == "alibi" else "scipy"),
    )


def drift_detector(name: str) -> DriftDetector:
    if name == "alibi":
        from selfheal_assets.adapters.alibi_drift import AlibiDriftDetector

        return AlibiDriftDetector()
    from selfheal_assets.adapters.scipy_drift import ScipyDriftDetector

    return ScipyDriftDetector()


@dataclass
class SetClock:
    at: datetime = BEGIN

    def now(self) -> datetime:
        return self.at


@dataclass
class Frames:
    """What the stages use of the port `BatchStore`."""

    frames: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)

    def has(self, _: str, stage: str, batch_id: str) -> bool:
        return (stage, batch_id) in self.frames

    def read(self, _: str, stage: str, batch_id: str) -> pd.DataFrame:
        return self.frames[stage, batch_id]

    def rows(self, _: str, stage: str, batch_id: str) -> FrameRows:
        return FrameRows(self.frames[stage, batch_id])

    def write(self, _: str, stage: str, batch_id: str, frame: pd.DataFrame) -> None:
        self.frames[stage, batch_id] = frame

    def read_document(self, _: str, name: str) -> dict[str, Any] | None:
        return self.documents.get(name)


@dataclass
class LateLabels:
    """What the stages use of the port `LabelStore`: the labels that came after their batch."""

    came: dict[str, pd.Series] = field(default_factory=dict)

    def current(self, _: str, batch_id: str, event_ids: pd.Series) -> pd.Series | None:
        found = self.came.get(batch_id)
        return None if found is None else found.set_axis(event_ids.index)


@dataclass(frozen=True)
class Names:
    """What the stages use of the port `FeatureStore`."""

    columns: tuple[str, ...]

    def names(self, _: ModelSpec) -> list[str]:
        return list(self.columns)


class NoAliases:
    """What the stages use of the port `ModelRegistry`. No release is watched: every version scores alike."""

    def by_alias(self, _: str, __: str) -> None:
        return None


class Home:
    """The port `Services`, as far as measuring and deciding need it, with the real detectors."""

    def __init__(self, columns: tuple[str, ...], detector: str) -> None:
        self.clock, self.ledger = SetClock(), InMemoryLedger()
        self.batches, self.labels = Frames(), LateLabels()
        self.features, self.registry = Names(columns), NoAliases()
        self._detector = drift_detector(detector)

    def detector(self, _: ModelSpec) -> DriftDetector:
        return self._detector

    change_detector = staticmethod(detect_rise)
