"""Everything that stages and sensors work with, in one place. Never imports an adapter."""

from typing import TYPE_CHECKING, Protocol

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.quality import Check
from selfheal_assets.core.sequential_harm import LossChange
from selfheal_assets.ports.batches import BatchStore, QualityChecks
from selfheal_assets.ports.features import DriftDetector, FeatureStore
from selfheal_assets.ports.labels import LabelStore
from selfheal_assets.ports.learning import Trainer, Tuner
from selfheal_assets.ports.ledger import Clock, Ledger, Notifier
from selfheal_assets.ports.registry import ModelRegistry
from selfheal_assets.ports.servers import Serving

if TYPE_CHECKING:
    import numpy.typing as npt


class Services(Protocol):
    """Everything that stages and sensors work with; built by `wiring.py`."""

    @property
    def clock(self) -> Clock: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def batches(self) -> BatchStore: ...
    @property
    def labels(self) -> LabelStore: ...
    @property
    def notifier(self) -> Notifier: ...
    @property
    def checks(self) -> QualityChecks: ...
    @property
    def features(self) -> FeatureStore: ...
    @property
    def tuner(self) -> Tuner: ...
    @property
    def trainer(self) -> Trainer: ...
    @property
    def registry(self) -> ModelRegistry: ...
    @property
    def serving(self) -> Serving: ...

    def detector(self, spec: ModelSpec) -> DriftDetector: ...

    def declared_checks(self, spec: ModelSpec) -> list[Check]: ...

    def declared_types(self, spec: ModelSpec) -> dict[str, str]:
        """The types of the columns as the checks file declares them."""
        ...

    def change_detector(self, losses: "npt.ArrayLike", delta: float) -> LossChange | None:
        """ADWIN's word on a stream of losses, in order; None before its first look."""
        ...
