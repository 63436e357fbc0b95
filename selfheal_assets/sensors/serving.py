"""Serving: what the model servers say of themselves in; evidence out. Never decides, and never restarts a server."""

import json
from typing import Any

import dagster as dg

from selfheal_assets.core import served_past, server_window
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.server_window import look_at
from selfheal_assets.ports import Services
from selfheal_assets.stages.noted_release import note_release
from selfheal_assets.stages.serving_evidence import serving_evidence
from selfheal_assets.stages.situation import serving as serving_version


def serving_sensor(spec: ModelSpec) -> dg.SensorDefinition:
    """The sensor `m_serving_sensor`. Its cursor holds the last looks; without it, counting begins anew."""

    @dg.sensor(
        name=f"{spec.name}_serving_sensor",
        asset_selection=dg.AssetSelection.assets(dg.AssetKey([spec.name, "champion_model"])),
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Reads the metrics of the model servers of {spec.name} and sends them probes: errors, timeouts, latency, "
            "the feature store, scores, and what a promotion did to them, as evidence."
        ),
    )
    def serving(context: dg.SensorEvaluationContext, selfheal: dg.ResourceParam[Services]) -> dg.SensorResult:
        status = selfheal.serving.status(spec.name)
        look = look_at(status, selfheal.clock.now())
        cursor = _read(context.cursor)
        window = server_window.from_document(cursor.get("looks")).with_look(look, spec.serving.window_seconds)
        version, _ = serving_version(selfheal.ledger, spec)
        past = served_past.from_document(cursor.get("served")).with_look(spec.serving, status, look.at, version)
        said = serving_evidence(selfheal, spec, status, window, past)
        if trouble := note_release(selfheal, spec, status):
            said = f"{said}; {trouble}"
        context.log.info(said)
        kept = {"looks": server_window.to_document(window), "served": served_past.to_document(past)}
        return dg.SensorResult(skip_reason=said, cursor=json.dumps(kept, separators=(",", ":")))

    return serving


def _read(cursor: str | None) -> dict[str, Any]:
    try:
        found = json.loads(cursor or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
