"""Register models and move their aliases in MLflow: a trained model in, a version out. Never decides on promotion."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.mlflow_documents import log_document, read_document
from selfheal_assets.adapters.mlflow_runs import DECISION_TAG, FILES, candidate_tags, end_run, log_candidate, run_to_use
from selfheal_assets.adapters.xgboost_trainer import BOOSTER_FILE, SCHEMA_FILE, load_model
from selfheal_assets.core.errors import AliasConflictError, RegistryError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.durable import replaced
from selfheal_assets.ports import Candidate, Model, ModelVersion

if TYPE_CHECKING:
    import filelock
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as Stored

CHALLENGER = "challenger"
COMPLETE_TAG = "registration"
"""`complete` on a version once nothing of its registration is left to do."""
LOCK_TIMEOUT_SECONDS = 60


class MlflowRegistry:
    """Versions and aliases in one MLflow tracking server or database. Implements `ports.ModelRegistry`.

    MLflow has no compare-and-swap: alias moves and registrations hold a file lock instead, beside the artifacts when
    those are local. Processes on several machines that share a tracking server are not kept apart by it.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path | str) -> None:
        """`artifact_root`: a folder, or the URI of an object store, under which each model gets a folder."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is first imported
        self._uri = tracking_uri
        remote = "://" in str(artifact_root)
        self._root = str(artifact_root).rstrip("/") if remote else Path(artifact_root).absolute().as_uri()
        self._locks = Path(tempfile.gettempdir()) if remote else Path(artifact_root).absolute()
        self._folders: dict[tuple[str, str], Path] = {}
        self._models: dict[tuple[str, str], Model] = {}

    def initialise(self, models: Sequence[str] = ()) -> None:
        """Make the SQLite database, and the experiment of each model. For `selfheal init` alone: parallel first uses
        of a fresh database break it. Experiments made by others would keep their artifacts in the working directory.
        """
        database = self._sqlite_file()
        with _translated("the MLflow database must be possible to make", self._uri):
            with self._lock("initialise"):
                if database is not None and not database.exists():
                    database.parent.mkdir(parents=True, exist_ok=True)
                    _make_database(database, self._root)
            for model in models:
                self._experiment(self._client(), model)

    def register(self, spec: ModelSpec, model: Model, candidate: Candidate) -> ModelVersion:
        """Log and register; alias challenger. The same decision id gives the version that stands already.

        Each step can be repeated, and the version carries its decision from its first moment: a registration that was
        killed is completed by the next call. Runs of it that are not used any more end as KILLED.
        """
        with (
            _translated("a candidate must be registered whole", f"decision {candidate.decision_id}"),
            self._lock(spec.name),
        ):
            client = self._client()
            stored = self._registered(client, spec.name, candidate.decision_id)
            if stored is None:
                stored = self._log_and_register(client, spec, model, candidate)
            if COMPLETE_TAG not in stored.tags:
                client.set_registered_model_alias(spec.name, CHALLENGER, stored.version)
                end_run(client, str(stored.run_id))
                client.set_model_version_tag(spec.name, stored.version, COMPLETE_TAG, "complete")
            return _version(client.get_model_version(spec.name, stored.version))

    def by_alias(self, model: str, alias: str) -> ModelVersion | None:
        with _translated("an alias must be readable", f"{model}@{alias}"):
            return self._at(self._client(), model, alias)

    def versions(self, model: str) -> list[ModelVersion]:
        """All, newest first; none for a model that was never registered."""
        with _translated("the versions of a model must be readable", model):
            client = self._client()
            found: list[Stored] = []
            page: str | None = None
            while page != "":
                batch = client.search_model_versions(
                    f"name = '{model}'", order_by=["version_number DESC"], page_token=page
                )
                found.extend(batch)
                page = batch.token or ""
            aliases = client.get_registered_model(model).aliases if found else {}
            return [_version(each, [a for a, on in aliases.items() if str(on) == str(each.version)]) for each in found]

    def load(self, version: ModelVersion) -> Model:
        key = (version.model, version.version)
        if key not in self._models:
            self._models[key] = load_model(self.folder(version))
        return self._models[key]

    def folder(self, version: ModelVersion) -> Path:
        key = (version.model, version.version)
        if key not in self._folders:
            with _translated("the files of a registered version must be there", f"{version.model} {version.version}"):
                self._folders[key] = _local_files(self._client(), version.run_id)
        return self._folders[key]

    def keep(self, version: ModelVersion, name: str, document: Mapping[str, Any]) -> None:
        with _translated("a version must take documents", f"{version.model} {version.version}: {name}"):
            log_document(self._client(), version.run_id, name, document)
        # Files of an object store were copied here without it.
        self._folders.pop((version.model, version.version), None)

    def kept(self, version: ModelVersion, name: str) -> dict[str, Any] | None:
        with _translated("a version's documents must be readable", f"{version.model} {version.version}: {name}"):
            return read_document(self._client(), version.run_id, name)

    def move_alias(self, model: str, alias: str, version: str, *, expected: str | None) -> None:
        """See `ports.ModelRegistry`; the comparison and the move happen under the model's file lock."""
        with _translated("an alias must be movable", f"{model}@{alias} to version {version}"), self._lock(model):
            client = self._client()
            standing = self._at(client, model, alias)
            current = standing.version if standing else None
            if current == version:
                return
            if current != expected:
                raise AliasConflictError(
                    f"alias {alias!r} of {model!r} must be on version {expected or 'none'} to be moved to {version}; "
                    f"received a registry where it is on {current or 'none'}. Read the aliases and decide again."
                )
            client.get_model_version(model, version)
            client.set_registered_model_alias(model, alias, version)

    def tag(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        with _translated("a version must take tags", f"{version.model} {version.version}: {dict(tags)}"):
            for key, value in tags.items():
                self._client().set_model_version_tag(version.model, version.version, key, value)

    def link(self, version: ModelVersion) -> str:
        """The run's page when the tracking URI is a server, else the URI of the run's files."""
        with _translated("the run of a version must be readable", f"{version.model} {version.version}"):
            info = self._client().get_run(version.run_id).info
        if self._uri.startswith("http"):
            return f"{self._uri.rstrip('/')}/#/experiments/{info.experiment_id}/runs/{info.run_id}"
        return str(info.artifact_uri)

    def _client(self) -> "MlflowClient":
        from mlflow import MlflowClient

        database = self._sqlite_file()
        if database is not None and not database.exists():
            raise RegistryError(
                f"the MLflow database must be made before it is used; received {database}, which is absent. "
                "Run `selfheal init`."
            )
        return MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    def _sqlite_file(self) -> Path | None:
        from sqlalchemy.engine import make_url

        if not self._uri.startswith("sqlite"):
            return None
        return Path(make_url(self._uri).database or "")

    def _lock(self, name: str) -> "filelock.BaseFileLock":
        from filelock import FileLock

        self._locks.mkdir(parents=True, exist_ok=True)
        place = sha256(self._uri.encode()).hexdigest()[:12]
        return FileLock(self._locks / f".selfheal-{place}-{name}.lock", timeout=LOCK_TIMEOUT_SECONDS)

    def _experiment(self, client: "MlflowClient", model: str) -> str:
        found = client.get_experiment_by_name(model)
        if found is not None:
            return str(found.experiment_id)
        return str(client.create_experiment(model, artifact_location=f"{self._root}/{model}"))

    def _at(self, client: "MlflowClient", model: str, alias: str) -> ModelVersion | None:
        from mlflow.exceptions import MlflowException

        try:
            return _version(client.get_model_version_by_alias(model, alias))
        except MlflowException as error:
            # MLflow calls an absent alias an invalid value, and an absent model an absent resource.
            if "not found" in str(error):
                return None
            raise

    def _registered(self, client: "MlflowClient", model: str, decision_id: str) -> "Stored | None":
        found = client.search_model_versions(f"name = '{model}' and tag.{DECISION_TAG} = '{decision_id}'")
        return client.get_model_version(model, found[0].version) if found else None

    def _log_and_register(
        self, client: "MlflowClient", spec: ModelSpec, model: Model, candidate: Candidate
    ) -> "Stored":
        run, own = run_to_use(client, self._experiment(client, spec.name), candidate.decision_id)
        try:
            source = log_candidate(client, run, spec, model, candidate)
            _make_registered_model(client, spec)
            tags, model_id = candidate_tags(spec, candidate), source.removeprefix("models:/")
            return client.create_model_version(spec.name, source, run.info.run_id, tags=tags, model_id=model_id)
        except Exception:
            if own:
                client.set_terminated(run.info.run_id, "FAILED")
            raise


def _make_registered_model(client: "MlflowClient", spec: ModelSpec) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(spec.name, description=spec.description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version(stored: "Stored", aliases: Sequence[str] | None = None) -> ModelVersion:
    return ModelVersion(
        model=stored.name,
        version=str(stored.version),
        run_id=stored.run_id or "",
        tags=dict(stored.tags),
        created_at=datetime.fromtimestamp(stored.creation_timestamp / 1000, tz=UTC),
        aliases=tuple(sorted(stored.aliases if aliases is None else aliases)),
    )


def _local_files(client: "MlflowClient", run_id: str) -> Path:
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    place: Any = client.get_run(run_id).info.artifact_uri
    if is_local_uri(place):  # type: ignore[no-untyped-call]
        # MLflow would copy what is on this machine already into a new temporary folder at each call.
        folder = Path(local_file_uri_to_path(place), FILES)  # type: ignore[no-untyped-call]
    else:
        folder = Path(client.download_artifacts(run_id, FILES))
    for name in (BOOSTER_FILE, SCHEMA_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(folder / name)
    return folder


def _make_database(database: Path, artifact_root: str) -> None:
    """A kill leaves no half-migrated database."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with replaced(database) as draft:
        store: Any = SqlAlchemyStore(f"sqlite:///{draft}", artifact_root)  # type: ignore[no-untyped-call]
        store._dispose_engine()


@contextmanager
def _translated(rule: str, received: str) -> Iterator[None]:
    import filelock
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, filelock.Timeout) as error:
        raise RegistryError(
            f"{rule}; received {received}, and MLflow answered {type(error).__name__}: {error}. "
            "See that the tracking store and the artifact root can be reached, and try again."
        ) from error
