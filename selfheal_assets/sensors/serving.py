"""Serving: what the model servers say of themselves in; evidence out. Never decides, and never restarts a server."""

import json

import dagster as dg

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.server_window import from_document, look_at, to_document
from selfheal_assets.ports import Services
from selfheal_assets.stages.noted_release import note_release
from selfheal_assets.stages.serving_evidence import serving_evidence


def serving_sensor(spec: ModelSpec) -> dg.SensorDefinition:
    """The sensor `m_serving_sensor`. Its cursor holds the last looks; without it, counting begins anew."""

    @dg.sensor(
        name=f"{spec.name}_serving_sensor",
        asset_selection=dg.AssetSelection.assets(dg.AssetKey([spec.name, "champion_model"])),
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Reads the metrics of the model servers of {spec.name} and sends them probes: errors, timeouts, latency, "
            "the feature store, and what a promotion did to them, as evidence."
        ),
    )
    def serving(context: dg.SensorEvaluationContext, selfheal: dg.ResourceParam[Services]) -> dg.SensorResult:
        status = selfheal.serving.status(spec.name)
        look = look_at(status, selfheal.clock.now())
        window = from_document(_read(context.cursor)).with_look(look, spec.serving.window_seconds)
        said = serving_evidence(selfheal, spec, status, window)
        if trouble := note_release(selfheal, spec, status):
            said = f"{said}; {trouble}"
        context.log.info(said)
        return dg.SensorResult(skip_reason=said, cursor=json.dumps(to_document(window)))

    return serving


def _read(cursor: str | None) -> object:
    try:
        return json.loads(cursor or "")
    except ValueError:
        return None
