"""What Dagster loads: every declared model, and the services they share. Imports no heavy package."""

import gc

import dagster as dg

from selfheal_assets.project import PROJECT, declarations, model_files, roots_from_environment
from selfheal_assets.sensors.notifications import notifications_sensor
from selfheal_assets.sensors.retention import retention_job, retention_schedule
from selfheal_assets.wiring import Services, executor, resources

YOUNG_OBJECTS = 50_000
"""Python looks for garbage after so many new objects, not after 700: a hundred models are a million objects that stay,
and a quarter of the time that they take to load went into looking at them again and again."""


@dg.definitions
def defs() -> dg.Definitions:
    from selfheal_assets.components.declaration import load_spec
    from selfheal_assets.components.self_healing_model import model_definitions

    gc.set_threshold(YOUNG_OBJECTS)
    counting, own = model_files(roots_from_environment()), declarations(PROJECT)
    # The component loader takes the project's models all together: where an overlay declares one again, none of them.
    by_loader = own if set(own) <= set(counting) else []
    services = Services.from_environment()
    prune = retention_job(lambda: [load_spec(path).name for path in counting], services.settings.keep_runs_days)
    return dg.Definitions.merge(
        *([dg.load_from_defs_folder(path_within_project=PROJECT)] if by_loader else []),
        *(model_definitions(load_spec(path)) for path in counting if path not in by_loader),
        dg.Definitions(
            jobs=[prune],
            schedules=[retention_schedule(prune)],
            sensors=[notifications_sensor()],
            resources=resources(services),
            executor=executor(),
        ),
    )
