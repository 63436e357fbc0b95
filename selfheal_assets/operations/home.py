"""Make the home and migrate its databases, once, in one process, before anything runs in parallel. Never deletes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from selfheal_assets.core.errors import HomeError
from selfheal_assets.operations.models import declared_models
from selfheal_assets.project import PROJECT, roots_from_environment
from selfheal_assets.settings import plain, settings_from_environment
from selfheal_assets.wiring import Services

INSTANCE = PROJECT / "deployment" / "dagster" / "local.yaml"
STORAGE = "DAGSTER_POSTGRES_URL"
"""The variable that `services.yaml` reads: an address with a password is not written into a file."""
LAYOUT = "2"
"""Of the home's folders and databases; raised when an older one cannot be used any more."""


def use_home(home: Path) -> None:
    """Point this process, and every one that it starts, to the home."""
    os.environ["SELFHEAL_HOME"] = str(home)
    os.environ["SELFHEAL_OVERLAYS"] = os.pathsep.join(map(str, roots_from_environment()[1:]))
    settings = settings_from_environment()
    os.environ["DAGSTER_HOME"] = str(settings.dagster_folder)
    storage = plain(settings.dagster_storage_url)
    if storage is not None:
        os.environ[STORAGE] = storage


def opened(home: Path) -> Services:
    """The services over a home that stands. Nothing is made: what is missing is told by whatever needs it."""
    use_home(home)
    return Services.from_environment()


def initialise(home: Path, progress: Callable[[str], None] = lambda _: None) -> Services:
    """The services over a home that is ready; whatever of it is missing is made. Twice changes nothing.

    Raises HomeError when the home was made by a layout that this version does not know.
    """
    use_home(home)
    services = Services.from_environment()
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / ".initialising.lock"):
        stamp = home / "layout"
        made = stamp.read_text(encoding="utf-8").split() if stamp.exists() else []
        if made and made[0] != LAYOUT:
            raise HomeError(
                f"The home's layout must be {LAYOUT}; received {made[0]!r} in {stamp}. "
                "Use another SELFHEAL_HOME, or the version of selfheal that made it."
            )
        models = [spec.name for spec in declared_models(services)]
        wanted = [LAYOUT, *models, services.places.fingerprint()]
        if made != wanted:
            if services.settings.dagster_home is None:
                _dagster(home / "dagster", progress)
            services.initialise(models, progress)
            stamp.write_text(" ".join(wanted), encoding="utf-8")
        services.features.apply()
    return services


def _dagster(folder: Path, progress: Callable[[str], None]) -> None:
    folder.mkdir(exist_ok=True)
    target = folder / "dagster.yaml"
    if not target.exists():
        shutil.copyfile(INSTANCE.with_name("services.yaml") if STORAGE in os.environ else INSTANCE, target)
    progress("Dagster instance")
    from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

    with DagsterInstance.from_config(str(folder)) as instance:
        # Any query opens, and on a fresh home creates, its database.
        instance.get_runs_count(RunsFilter(statuses=[DagsterRunStatus.STARTED]))
        instance.event_log_storage.get_maximum_record_id()
        instance.all_instigator_state()
