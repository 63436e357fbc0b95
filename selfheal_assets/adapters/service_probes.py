"""Ask a service whether it can do its work here: an address in, findings out. Changes nothing but its own probe."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.redis_client import redis_client
from selfheal_assets.secrecy import discreet

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from selfheal_assets.adapters.object_bucket import Bucket

CONNECT_SECONDS = 5
OLDEST_POSTGRES, OLDEST_REDIS = 12, 5
PROBE = ".selfheal-doctor"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a look at one service gave."""

    detail: str
    """Its version and state, or what is wrong."""
    remedy: str = ""
    """What mends it; empty when nothing is wrong."""


Schema = Callable[["Connection"], Finding]


def look_at_database(url: str, schema: Schema) -> Finding:
    """Reachable, recent enough, may make tables, and `schema` says the rest. Of SQLite: the file only."""
    import sqlalchemy as sa

    if url.startswith("sqlite"):
        file = Path(sa.make_url(url).database or "")
        if not file.exists():
            return Finding(detail=f"{file} is absent", remedy="Run `selfheal init`.")
        connect: dict[str, Any] = {}
    else:
        connect = {"connect_timeout": CONNECT_SECONDS}
    engine = sa.create_engine(url, connect_args=connect, poolclass=sa.pool.NullPool)
    try:
        with engine.connect() as connection:
            refused = _refused_by_postgres(connection) if engine.dialect.name == "postgresql" else None
            return refused or schema(connection)
    except sa.exc.SQLAlchemyError as error:
        return _unreachable(error, "the database runs, and that user, password and database name are right")


def _refused_by_postgres(connection: "Connection") -> Finding | None:
    import sqlalchemy as sa

    version = connection.dialect.server_version_info or (0,)
    if int(version[0]) < OLDEST_POSTGRES:
        return Finding(
            detail=f"PostgreSQL must be {OLDEST_POSTGRES} or later; it is {'.'.join(map(str, version))}",
            remedy="Upgrade the server.",
        )
    may, user, database, schema = connection.execute(
        sa.text(
            "select has_schema_privilege(current_schema(), 'CREATE'), current_user, current_database(),"
            " current_schema()"
        )
    ).one()
    if not may:
        return Finding(
            detail=f"user {user} may not make tables in schema {schema or 'public'} of {database}",
            remedy=f'As its owner: grant create, usage on schema {schema or "public"} to "{user}";',
        )
    return None


def version_of(connection: "Connection") -> str:
    return f"{connection.dialect.name} {'.'.join(map(str, connection.dialect.server_version_info or ()))}"


def ledger_schema(connection: "Connection") -> Finding:
    from selfheal_assets.adapters.ledger_schema import newest_version, schema_version

    found, needed = schema_version(connection), newest_version()
    if found == needed:
        return Finding(detail=f"{version_of(connection)}, ledger version {found}")
    return Finding(detail=f"the ledger must be of version {needed}; it is {found or 'not made'}", remedy=INIT)


INIT = "Run `selfheal init`, once, before anything else is started."


def has_tables(*names: str) -> Schema:
    """Whether the tables that its owner makes by itself are there."""

    def schema(connection: "Connection") -> Finding:
        import sqlalchemy as sa

        missing = [name for name in names if not sa.inspect(connection).has_table(name)]
        if missing:
            return Finding(detail=f"{version_of(connection)}, without the tables {missing}", remedy=INIT)
        return Finding(detail=version_of(connection))

    return schema


def look_at_dagster(folder: Path) -> Finding:
    """Whether the instance opens as its dagster.yaml says, and knows its runs."""
    from dagster import DagsterError, DagsterInstance
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import SQLAlchemyError

    if not (folder / "dagster.yaml").is_file():
        return Finding(
            detail=f"{folder} holds no dagster.yaml", remedy="Put it there, or correct SELFHEAL_DAGSTER_HOME."
        )
    try:
        with DagsterInstance.from_config(str(folder)) as instance:
            runs = instance.get_runs_count()
    except (DagsterError, DagsterPostgresException, SQLAlchemyError, OSError) as error:
        return _unreachable(error, "the storage that dagster.yaml names runs, and `dagster instance migrate` was run")
    return Finding(detail=f"{runs:,} runs")


def look_at_redis(words: str) -> Finding:
    """Reachable, recent enough, and may be written to. `words`: Feast's form of the address."""
    from redis.exceptions import RedisError

    client = redis_client(words)
    try:
        version = str(client.info("server")["redis_version"])
        client.hset(PROBE, "probe", "1")
        client.delete(PROBE)
    except RedisError as error:
        return _unreachable(error, "Redis runs, that the password is right, and that the user may write hashes")
    finally:
        client.close()
    if int(version.split(".")[0]) < OLDEST_REDIS:
        return Finding(detail=f"Redis must be {OLDEST_REDIS} or later; it is {version}", remedy="Upgrade the server.")
    return Finding(detail=f"redis {version}")


def look_at_objects(bucket: "Bucket") -> Finding:
    """Reachable; objects may be written, listed, read, copied and removed; and none is overwritten on request."""
    import tempfile

    from selfheal_assets.core.errors import ServiceError

    key, copy = f"{PROBE}/probe", f"{PROBE}/copy"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "probe")
        file.write_bytes(b"selfheal doctor")
        try:
            bucket.remove(key)
            refuses = bucket.upload(file, key, only_new=True) and not bucket.upload(file, key, only_new=True)
            (stored,) = bucket.listed(PROBE)
            bucket.copy(stored, copy)
            bucket.download(copy, file)
            for each in (key, copy):
                bucket.remove(each)
        except (ServiceError, FileNotFoundError, ValueError) as error:
            wanted = "the bucket is there, and that the key may list it, and get, put and delete its objects"
            return _unreachable(error.__cause__ or error, wanted)
    if not refuses:
        return Finding(
            detail="it overwrites an object although it was asked not to (If-None-Match)",
            remedy="Use a store that knows conditional writes; here, two senders of one name can lose a file.",
        )
    return Finding(detail="reads, writes, lists, copies and removes; conditional writes hold")


def look_at_http(url: str) -> Finding:
    """An MLflow tracking server, by its own health page."""
    import httpx

    try:
        health = httpx.get(f"{url.rstrip('/')}/health", timeout=CONNECT_SECONDS)
        version = httpx.get(f"{url.rstrip('/')}/version", timeout=CONNECT_SECONDS)
    except httpx.HTTPError as error:
        return _unreachable(error, "the tracking server runs and can be reached from here")
    if health.status_code != httpx.codes.OK:
        return Finding(
            detail=f"the tracking server answered HTTP {health.status_code}",
            remedy="See its log; behind a proxy, that this machine may pass.",
        )
    return Finding(detail=f"MLflow {version.text[:20]}" if version.is_success else "MLflow")


def _unreachable(error: BaseException, wanted: str) -> Finding:
    told = " ".join(discreet(error).split())
    return Finding(detail=f"{type(error).__name__}: {told:.300}", remedy=f"See that {wanted}.")
