"""From a model's YAML to a ModelSpec, and from that to its assets, checks, jobs and sensors. Holds no logic itself."""

from dataclasses import dataclass
from typing import Self

import dagster as dg
from pydantic import BaseModel

from selfheal_assets.adapters.column_types import load_types
from selfheal_assets.adapters.dbt_checks import load_checks
from selfheal_assets.components.declaration import SCHEMA, Attributes
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.project import check_folders, roots_from_environment
from selfheal_assets.sensors.arrivals import arrivals_sensor
from selfheal_assets.sensors.drift import drift_sensor
from selfheal_assets.sensors.failures import failures_sensor
from selfheal_assets.sensors.labels import labels_sensor
from selfheal_assets.sensors.notifications import notifications_sensor
from selfheal_assets.sensors.quality import quality_sensor
from selfheal_assets.sensors.rollout import rollout_sensor
from selfheal_assets.sensors.serving import serving_sensor
from selfheal_assets.sensors.watchdog import watchdog_sensor
from selfheal_assets.stages import jobs
from selfheal_assets.stages.approval import approval
from selfheal_assets.stages.check_data import checked_batch
from selfheal_assets.stages.check_model import validation_report
from selfheal_assets.stages.features import features
from selfheal_assets.stages.incident_report import incident_report
from selfheal_assets.stages.ingest import raw_batch
from selfheal_assets.stages.labels import labels
from selfheal_assets.stages.observe import observed_batch, predictions
from selfheal_assets.stages.promote import champion_model, reference_data
from selfheal_assets.stages.rollback import rollback
from selfheal_assets.stages.rollout import rollout
from selfheal_assets.stages.train import candidate_model, training_set, tuned_parameters


@dataclass(frozen=True)
class SelfHealingModel(dg.Component):
    """A tabular model that selfheal keeps healthy: its batches, checks, features, drift, training and promotion."""

    spec: ModelSpec

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return SCHEMA

    @classmethod
    def load(
        cls,
        attributes: BaseModel | None,
        context: dg.ComponentLoadContext,  # noqa: ARG003 - Dagster's signature
    ) -> Self:
        assert isinstance(attributes, Attributes)
        return cls(attributes.spec())

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - Dagster's signature
        return model_definitions(self.spec)


def model_definitions(spec: ModelSpec) -> dg.Definitions:
    """Everything that Dagster shows of one model."""
    folders = check_folders(roots_from_environment())
    ingest, retrain, join_labels = jobs.ingest(spec), jobs.retrain(spec), jobs.labels(spec)
    put_back = rollback(spec)
    sensors = [
        arrivals_sensor(spec, ingest),
        labels_sensor(spec, join_labels),
        quality_sensor(spec),
        drift_sensor(spec, retrain, put_back),
        failures_sensor(spec),
        serving_sensor(spec),
    ]
    release = jobs.rollout(spec) if spec.rollout.over != "none" else None
    if release is not None:
        sensors.append(rollout_sensor(spec, release))
    return dg.Definitions(
        assets=[
            raw_batch(spec, load_types(folders, spec)),
            checked_batch(spec, load_checks(folders, spec)),
            features(spec),
            predictions(spec),
            labels(spec),
            observed_batch(spec),
            training_set(spec),
            tuned_parameters(spec),
            candidate_model(spec),
            validation_report(spec),
            *([rollout(spec)] if release is not None else []),
            champion_model(spec),
            reference_data(spec),
            incident_report(spec),
        ],
        jobs=[
            *(ingest, join_labels, retrain, jobs.release_quarantine(spec), put_back, approval(spec)),
            *([release] if release is not None else []),
        ],
        # Every model's watchdog also looks at the sensor of the code location that tells people.
        sensors=[*sensors, watchdog_sensor(spec, [*sensors, notifications_sensor()])],
    )
