"""What Dagster loads: every declared model, and the services they share. Imports no heavy package."""

import dagster as dg

from selfheal_assets.project import PROJECT, declarations, overlays_from_environment
from selfheal_assets.sensors.notifications import notifications_sensor
from selfheal_assets.wiring import Services, executor, resources


@dg.definitions
def defs() -> dg.Definitions:
    from selfheal_assets.components.declaration import load_spec
    from selfheal_assets.components.self_healing_model import model_definitions

    overlays = [load_spec(path) for root in overlays_from_environment() for path in declarations(root)]
    return dg.Definitions.merge(
        dg.load_from_defs_folder(path_within_project=PROJECT),
        *map(model_definitions, overlays),
        dg.Definitions(
            sensors=[notifications_sensor()],
            resources=resources(Services.from_environment()),
            executor=executor(),
        ),
    )
