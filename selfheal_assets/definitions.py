"""What Dagster loads: every declared model, and the services they share. Imports no heavy package."""

import dagster as dg

from selfheal_assets.project import PROJECT, declarations, model_files, roots_from_environment
from selfheal_assets.sensors.notifications import notifications_sensor
from selfheal_assets.wiring import Services, executor, resources


@dg.definitions
def defs() -> dg.Definitions:
    from selfheal_assets.components.declaration import load_spec
    from selfheal_assets.components.self_healing_model import model_definitions

    counting, own = model_files(roots_from_environment()), declarations(PROJECT)
    # The component loader takes the project's models all together: where an overlay declares one again, none of them.
    by_loader = own if set(own) <= set(counting) else []
    return dg.Definitions.merge(
        *([dg.load_from_defs_folder(path_within_project=PROJECT)] if by_loader else []),
        *(model_definitions(load_spec(path)) for path in counting if path not in by_loader),
        dg.Definitions(
            sensors=[notifications_sensor()],
            resources=resources(Services.from_environment()),
            executor=executor(),
        ),
    )
