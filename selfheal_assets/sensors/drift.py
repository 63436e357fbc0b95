"""Drift: evidence in; incidents, decisions and the runs that carry them out, out. Never measures or trains."""

import dagster as dg

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import Services
from selfheal_assets.sensors.healer import heal
from selfheal_assets.sensors.incident_reports import report_incidents
from selfheal_assets.stages.jobs import AssetJob


def drift_sensor(spec: ModelSpec, retrain: AssetJob, rollback: dg.JobDefinition) -> dg.SensorDefinition:
    """The sensor `m_drift_sensor`."""

    @dg.sensor(
        name=f"{spec.name}_drift_sensor",
        jobs=[retrain, rollback],
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Watches Alibi Detect's drift reports and the performance, diagnoses the cause, decides by the declared "
            "policy, and requests what it decided: retraining only for harm."
        ),
    )
    def drift(context: dg.SensorEvaluationContext, selfheal: dg.ResourceParam[Services]) -> dg.SensorResult:
        requests, words = heal(context, selfheal, spec)
        said = "; ".join(words)
        context.log.info(said)
        reported = report_incidents(context, selfheal, spec)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else said,
            asset_events=reported.events,
            cursor=reported.cursor,
        )

    return drift
