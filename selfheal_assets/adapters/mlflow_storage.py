"""Make MLflow's databases, and fetch a run's files: addresses in, tables and local folders out. Never reads a model."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.mlflow_runs import FILES
from selfheal_assets.adapters.xgboost_trainer import BOOSTER_FILE, SCHEMA_FILE
from selfheal_assets.durable import replaced

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONNECT_SECONDS = 5


def local_files(client: "MlflowClient", run_id: str, scratch: Callable[[], Path]) -> Path:
    """The run's files in place, or copied from an object store to a folder of `scratch()`, which is made if needed.

    FileNotFoundError when one is missing.
    """
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    place: Any = client.get_run(run_id).info.artifact_uri
    if is_local_uri(place):  # type: ignore[no-untyped-call]
        # MLflow would copy what is on this machine already into a new temporary folder at each call.
        folder = Path(local_file_uri_to_path(place), FILES)  # type: ignore[no-untyped-call]
    else:
        copies = scratch() / run_id
        copies.mkdir(exist_ok=True)
        folder = Path(client.download_artifacts(run_id, FILES, str(copies)))
    for name in (BOOSTER_FILE, SCHEMA_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(folder / name)
    return folder


def make_database(database: Path, artifact_root: str) -> None:
    """A kill leaves no half-migrated database."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with replaced(database) as draft:
        store: Any = SqlAlchemyStore(f"sqlite:///{draft}", artifact_root)  # type: ignore[no-untyped-call]
        store._dispose_engine()


def make_tables(uri: str, artifact_root: str) -> None:
    """MLflow makes and migrates its tables when a store is opened; two at once would break them."""
    import sqlalchemy as sa
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    # MLflow would try a wrong password again for a minute and a half.
    engine = sa.create_engine(uri, poolclass=sa.pool.NullPool, connect_args={"connect_timeout": CONNECT_SECONDS})
    engine.connect().close()
    store: Any = SqlAlchemyStore(uri, artifact_root)  # type: ignore[no-untyped-call]
    store._dispose_engine()
