"""Remove old runs of the home's Dagster instance at once, or say what would go. Never touches the ledger."""

from typing import TYPE_CHECKING

from selfheal_assets.operations.models import declared_models
from selfheal_assets.operations.run_lookup import home_instance
from selfheal_assets.wiring import Services

if TYPE_CHECKING:
    from selfheal_assets.sensors.old_runs import Pruned


def prune(
    services: Services, *, days: float | None = None, limit: int | None = None, dry_run: bool = False
) -> "Pruned":
    """Of every declared model, as the schedule `selfheal_retention` does. `days`: by default as the settings say."""
    from selfheal_assets.sensors import watched_dagster
    from selfheal_assets.sensors.old_runs import AT_ONCE, cutoff, prune_runs

    before = cutoff(watched_dagster.wall_clock(), services.settings.keep_runs_days if days is None else days)
    models = [spec.name for spec in declared_models(services)]
    with home_instance(services) as instance:
        return prune_runs(instance, services, models, before, limit=limit or AT_ONCE, dry_run=dry_run)
