"""The Protocols that stages and sensors speak to, and the values that cross them. Never imports an adapter."""

from selfheal_assets.ports.batch_rows import BatchRows, FrameRows
from selfheal_assets.ports.batches import BatchStore, CheckContext, LandedFile, QualityChecks
from selfheal_assets.ports.features import DriftDetector, FeatureStore, Published, TwoSampleTest
from selfheal_assets.ports.labels import LabelStore, LookedAt, Overlay
from selfheal_assets.ports.learning import LabelledRows, Model, Trainer, TunedParameters, Tuner
from selfheal_assets.ports.ledger import Clock, Ledger, Notifier
from selfheal_assets.ports.registry import Candidate, MlflowRun, ModelRegistry, ModelVersion
from selfheal_assets.ports.servers import Release, Restart, RestartState, Serving
from selfheal_assets.ports.services import Services
from selfheal_assets.ports.serving import (
    AnswerLog,
    FeatureLevel,
    Line,
    Logged,
    OnlineStore,
    Resolved,
    ServedModel,
    Table,
)

__all__ = [
    "AnswerLog",
    "BatchRows",
    "BatchStore",
    "Candidate",
    "CheckContext",
    "Clock",
    "DriftDetector",
    "FeatureLevel",
    "FeatureStore",
    "FrameRows",
    "LabelStore",
    "LabelledRows",
    "LandedFile",
    "Ledger",
    "Line",
    "Logged",
    "LookedAt",
    "MlflowRun",
    "Model",
    "ModelRegistry",
    "ModelVersion",
    "Notifier",
    "OnlineStore",
    "Overlay",
    "Published",
    "QualityChecks",
    "Release",
    "Resolved",
    "Restart",
    "RestartState",
    "ServedModel",
    "Services",
    "Serving",
    "Table",
    "Trainer",
    "TunedParameters",
    "Tuner",
    "TwoSampleTest",
]
