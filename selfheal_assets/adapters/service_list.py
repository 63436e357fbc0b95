"""List every service that the settings name or leave embedded, each with the look that it needs. Asks none itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from selfheal_assets.adapters.feast_stores import redis_words
from selfheal_assets.adapters.places import Places
from selfheal_assets.adapters.service_probes import (
    Finding,
    has_tables,
    ledger_schema,
    look_at_dagster,
    look_at_database,
    look_at_http,
    look_at_objects,
    look_at_redis,
)
from selfheal_assets.secrecy import discreet
from selfheal_assets.settings import Settings, plain


@dataclass(frozen=True, kw_only=True)
class Service:
    """One thing that selfheal keeps state in."""

    name: str
    where: str
    """Without a password."""
    look: Callable[[], Finding]


def services(settings: Settings, places: Places) -> Iterator[Service]:
    """In the order in which they are needed."""
    home = settings.home
    yield _home(home)
    yield _dagster(settings)
    yield Service(
        name="ledger",
        where=discreet(places.ledger_url),
        look=partial(look_at_database, places.ledger_url, ledger_schema),
    )
    yield _tracking(places.tracking_uri)
    yield _kept_in("MLflow artifacts", str(places.artifacts), places)
    registry = places.feast.registry_url or f"sqlite:///{home / 'feast' / 'registry.db'}"
    yield _database("Feast registry", registry, has_tables("feature_views", "feature_services"))
    online = places.feast.online_url
    if online:
        yield Service(
            name="Feast online store", where=discreet(online), look=lambda: look_at_redis(redis_words(online))
        )
    else:
        yield _folder("Feast online store", home / "feast")
    if places.tuning_url:
        # Optuna makes its tables when a study begins.
        yield _database("tuning", places.tuning_url, has_tables())
    else:
        yield _folder("tuning", home)
    yield _kept_in("batches", settings.store_root or str(home), places)


def _home(home: Path) -> Service:
    return Service(name="home", where=str(home), look=partial(_writable, home))


def _dagster(settings: Settings) -> Service:
    folder, address = settings.dagster_folder, plain(settings.dagster_storage_url)
    if settings.dagster_home is not None:
        return Service(name="Dagster storage", where=str(folder), look=partial(look_at_dagster, folder))
    where, look = f"{folder} (embedded)", partial(_writable, folder)
    if address:
        where = discreet(address)
        look = partial(look_at_database, address, has_tables("runs", "event_logs", "job_ticks"))
    return Service(name="Dagster storage", where=where, look=partial(_instance, folder, address is not None, look))


def _instance(folder: Path, in_postgres: bool, look: Callable[[], Finding]) -> Finding:
    """Dagster itself reads the home's instance file, which is written once."""
    file = folder / "dagster.yaml"
    if file.exists() and ("postgres:" in file.read_text(encoding="utf-8")) is not in_postgres:
        return Finding(
            detail=f"{file} keeps Dagster's storage {'in SQLite' if in_postgres else 'in PostgreSQL'}",
            remedy="Stop Dagster, move that file away, and run `selfheal init`: runs so far stay where they are.",
        )
    return look()


def _folder(name: str, folder: Path) -> Service:
    return Service(name=name, where=f"{folder} (embedded)", look=partial(_writable, folder))


def _writable(folder: Path) -> Finding:
    import os

    if not folder.is_dir():
        return Finding(detail=f"{folder} is absent", remedy="Run `selfheal init`.")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Finding(detail=f"{folder} cannot be written", remedy="Give the folder to the user that runs selfheal.")
    return Finding(detail="can be written")


def _database(name: str, url: str, schema: Callable[..., Finding]) -> Service:
    return Service(name=name, where=discreet(url), look=partial(look_at_database, url, schema))


def _tracking(uri: str) -> Service:
    if uri.startswith("http"):
        return Service(name="MLflow tracking", where=discreet(uri), look=partial(look_at_http, uri))
    return _database("MLflow tracking", uri, has_tables("experiments", "registered_models"))


def _kept_in(name: str, place: str, places: Places) -> Service:
    if "://" not in place:
        return _folder(name, Path(place))

    def look() -> Finding:
        from selfheal_assets.adapters.object_bucket import Bucket

        return look_at_objects(Bucket(place, places.object_options()))

    return Service(name=name, where=discreet(place), look=look)
