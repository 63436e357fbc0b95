"""The environment of a whole stack: real servers in, the variables that point selfheal to them out."""

from pathlib import Path
from uuid import uuid4

from servers import KEYS, ObjectStore, Postgres, Redis


def environment(postgres: Postgres, redis: Redis, objects: ObjectStore, secrets: Path) -> dict[str, str]:
    """Every service, fresh. The ledger's address and the store's key stand in files, as mounted secrets do."""
    name = f"s{uuid4().hex[:8]}"
    root = objects.bucket(name)
    secrets.mkdir(parents=True)
    (secrets / "ledger").write_text(plain_address(postgres, f"{name}-ledger") + "\n")
    (secrets / "key").write_text(KEYS["secret"])
    redis.flush()
    return {
        "SELFHEAL_ENV": "production",
        "SELFHEAL_LEDGER_URL_FILE": str(secrets / "ledger"),
        "SELFHEAL_MLFLOW_URL": plain_address(postgres, f"{name}-mlflow"),
        "SELFHEAL_MLFLOW_ARTIFACTS": f"{root}/mlflow",
        "SELFHEAL_FEAST_REGISTRY_URL": plain_address(postgres, f"{name}-feast"),
        "SELFHEAL_ONLINE_STORE_URL": redis.url(),
        "SELFHEAL_TUNING_URL": plain_address(postgres, f"{name}-tuning"),
        "SELFHEAL_DAGSTER_STORAGE_URL": plain_address(postgres, f"{name}-dagster"),
        "SELFHEAL_STORE_ROOT": root,
        "SELFHEAL_S3_ENDPOINT_URL": objects.endpoint,
        "SELFHEAL_S3_REGION": "us-east-1",
        "SELFHEAL_S3_ACCESS_KEY_ID": KEYS["key"],
        "SELFHEAL_S3_SECRET_ACCESS_KEY_FILE": str(secrets / "key"),
    }


def plain_address(postgres: Postgres, database: str) -> str:
    """As a company writes it: without SQLAlchemy's driver."""
    return postgres.url(database).replace("+psycopg2", "")
