"""Register models and move their aliases in MLflow: a trained model in, a version out. Never decides on promotion."""

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.mlflow_documents import log_document, read_document
from selfheal_assets.adapters.mlflow_runs import DECISION_TAG, candidate_tags, end_run, log_candidate, run_to_use
from selfheal_assets.adapters.mlflow_storage import local_files, make_database, make_tables
from selfheal_assets.adapters.turns import Alone, in_turn
from selfheal_assets.adapters.xgboost_trainer import load_model
from selfheal_assets.core.errors import AliasConflictError, BusyError, RegistryError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import Candidate, Model, ModelVersion
from selfheal_assets.secrecy import discreet

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as Stored

CHALLENGER = "challenger"
COMPLETE_TAG = "registration"
"""`complete` on a version once nothing of its registration is left to do."""
LOCK_TIMEOUT_SECONDS = 60


class MlflowRegistry:
    """Versions and aliases in one MLflow tracking server or database. Implements `ports.ModelRegistry`.

    MLflow has no compare-and-swap: alias moves and registrations are taken in turns instead.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path | str, alone: Alone | None = None) -> None:
        """`artifact_root`: a folder, or the URI of an object store, under which each model gets a folder.

        `alone` keeps processes apart. By default a file lock beside the artifacts, or in the temporary folder when
        those are in an object store: it holds among the processes of one machine.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is first imported
        self._uri = tracking_uri
        remote = "://" in str(artifact_root)
        self._root = str(artifact_root).rstrip("/") if remote else Path(artifact_root).absolute().as_uri()
        self._alone = alone or in_turn(Path(tempfile.gettempdir()) if remote else Path(artifact_root).absolute())
        self._folders: dict[tuple[str, str], Path] = {}
        self._models: dict[tuple[str, str], Model] = {}

    def initialise(self, models: Sequence[str] = ()) -> None:
        """Make the SQLite database, and the experiment of each model. For `selfheal init` alone: parallel first uses
        of a fresh database break it. Experiments made by others would keep their artifacts in the working directory.
        """
        database = self._sqlite_file()
        with _translated("the MLflow database must be possible to make", discreet(self._uri)):
            with self._lock("initialise"):
                if database is not None and not database.exists():
                    database.parent.mkdir(parents=True, exist_ok=True)
                    make_database(database, self._root)
                if self._uri.startswith("postgresql"):
                    make_tables(self._uri, self._root)
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
                self._folders[key] = local_files(self._client(), version.run_id, lambda: self._scratch)
        return self._folders[key]

    @cached_property
    def _scratch(self) -> Path:
        """For copies of what is in an object store; removed with this object, at the latest with the process."""
        folder = tempfile.mkdtemp(prefix="selfheal-models-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

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

    def _lock(self, name: str) -> AbstractContextManager[None]:
        place = sha256(discreet(self._uri).encode()).hexdigest()[:12]
        return self._alone(f".selfheal-{place}-{name}", LOCK_TIMEOUT_SECONDS)

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


@contextmanager
def _translated(rule: str, received: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, BusyError) as error:
        raise RegistryError(
            f"{rule}; received {received}, and MLflow answered {type(error).__name__}: {discreet(error)}. "
            "See that the tracking store and the artifact root can be reached, and try again."
        ) from error
