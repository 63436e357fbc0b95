"""Read which services are used: environment variables and secret files in, one checked object out. Opens nothing."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from selfheal_assets.core.errors import SpecError

PREFIX = "SELFHEAL_"
FILE_SUFFIX = "_FILE"
DRIVER = "postgresql+psycopg2://"
"""SQLAlchemy's name of the driver that is installed; a plain `postgresql://` would ask for another one."""


def _database(value: object) -> object:
    """A PostgreSQL address with its driver; any other text as it is."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        return value
    for plain in ("postgresql://", "postgres://"):
        text = DRIVER + text.removeprefix(plain) if text.startswith(plain) else text
    return text


def _of(*schemes: str) -> BeforeValidator:
    """Refuses an address of another scheme, without showing it: it may hold a password."""

    def checked(value: object) -> object:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str) and not text.startswith(tuple(f"{scheme}:" for scheme in schemes)):
            raise ValueError(f"must begin with one of {', '.join(f'{scheme}:' for scheme in schemes)}")
        return value

    return BeforeValidator(checked)


Database = Annotated[SecretStr, _of("postgresql+psycopg2", "sqlite"), BeforeValidator(_database)]
Tracking = Annotated[SecretStr, _of("postgresql+psycopg2", "sqlite", "http", "https"), BeforeValidator(_database)]
Postgres = Annotated[SecretStr, _of("postgresql+psycopg2"), BeforeValidator(_database)]
Redis = Annotated[SecretStr, _of("redis", "rediss")]
Objects = Annotated[str, _of("s3")]
Folder = Annotated[Path, AfterValidator(lambda folder: folder.expanduser().absolute())]


class Settings(BaseSettings):
    """Every field is the variable `SELFHEAL_<NAME>`, or the content of the file that `SELFHEAL_<NAME>_FILE` names."""

    # The input is kept out of errors: it may be a secret.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        hide_input_in_errors=True,
        frozen=True,
        extra="ignore",
        validate_default=True,
    )

    env: Literal["local", "production"] = "local"
    """What may be left out. `local`: every service that is not named is embedded, under the home. `production`: an
    embedded store is an error, so that a forgotten variable cannot send records to a disk that nobody backs up.
    """
    home: Folder = Path(".selfheal")
    """Folder of all state that is not in a named service, and of what is copied from the object store for reading."""
    ledger_url: Database | None = None
    """Database of the ledger. Unset: `ledger.db` in the home (SQLite)."""
    mlflow_url: Tracking | None = None
    """MLflow's tracking server (`https://...`), or the database of its tracking store. Unset: SQLite in the home."""
    mlflow_artifacts: str | None = None
    """Where MLflow keeps the files of models: `s3://bucket/path`, or a folder. Unset: a folder of the home."""
    feast_registry_url: Database | None = None
    """Database of Feast's registry. Unset: as `feature_repo/feature_store.yaml` says, which is SQLite in the home."""
    online_store_url: Redis | None = None
    """Redis for Feast's online store: `redis://user:password@host:port/database`, `rediss://` with TLS. Unset: as
    `feature_repo/feature_store.yaml` says, which is SQLite in the home.
    """
    tuning_url: Database | None = None
    """Database of Optuna's studies. Unset: a journal file a model, in the home."""
    dagster_storage_url: Postgres | None = None
    """Database of Dagster's runs, events and schedules, for processes that `selfheal` starts. Unset: SQLite in the
    home. On Kubernetes Dagster reads `deployment/dagster/production.yaml` instead.
    """
    dagster_home: Folder | None = None
    """Folder of a `dagster.yaml` that somebody else keeps, as on Kubernetes. Unset: `dagster` in the home, which
    `selfheal init` makes.
    """
    store_root: Objects | None = None
    """Where batches, quarantine, references and published features are kept: `s3://bucket/path`. Unset: the home."""
    s3_endpoint_url: str | None = None
    """Address of the object store where it is not Amazon's."""
    s3_region: str | None = None
    """Region of the object store. Unset: what the environment's AWS configuration says."""
    s3_access_key_id: SecretStr | None = None
    """Name of the key to the object store. Unset: AWS's own chain (variables, files, the role of the machine)."""
    s3_secret_access_key: SecretStr | None = None
    """The key that belongs to it."""
    serving: Literal["local", "kubernetes"] = "local"
    """Who restarts and scales the model servers: the supervisor of this machine, or Kubernetes."""
    executor: Literal["in_process", "k8s_job"] = "in_process"
    """How the steps of a run are executed: in one process (another would import every heavy package again), or each
    as a Kubernetes job.
    """
    dagster_url: str | None = None
    """Address of the Dagster UI, for links in notifications."""
    keep_runs_days: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 90.0
    """For how long Dagster keeps a finished run, its events and its logs. What is still needed stays longer, and the
    ledger for ever (docs/fleet.md).
    """

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the parent's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _SecretFiles(settings_cls)

    @model_validator(mode="after")
    def _complete(self) -> "Settings":
        missing = [name for name in REQUIRED if getattr(self, name) is None] if self.env == "production" else []
        if missing:
            wanted = ", ".join(variable(name) for name in missing)
            raise ValueError(f"in production {wanted} must be set (each may be a file, with {FILE_SUFFIX})")
        if (self.s3_access_key_id is None) is not (self.s3_secret_access_key is None):
            raise ValueError(f"{variable('s3_access_key_id')} and {variable('s3_secret_access_key')} belong together")
        return self

    @property
    def dagster_folder(self) -> Path:
        """The folder of Dagster's instance."""
        return self.dagster_home or self.home / "dagster"


REQUIRED = (
    "ledger_url",
    "mlflow_url",
    "mlflow_artifacts",
    "feast_registry_url",
    "online_store_url",
    "tuning_url",
    "store_root",
)
"""What is embedded when it is left out. Dagster's storage is not among them: on Kubernetes Dagster reads its own."""


class _SecretFiles(PydanticBaseSettingsSource):
    """`SELFHEAL_<NAME>_FILE`: a secret as Kubernetes and Docker mount it, which no list of processes shows."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        name = variable(field_name) + FILE_SUFFIX
        file = os.environ.get(name, "").strip()
        if not file:
            return None, field_name, False
        try:
            content = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{name} must name a readable file; received {file!r}: {error}. Correct it.") from error
        if not content:
            raise SpecError(f"{name} must hold a value; received {file!r}, which is empty. Fill or unset it.")
        return content, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def settings_from_environment() -> Settings:
    """Raises SpecError naming every wrong variable, never its value."""
    try:
        return Settings()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        wrong = [f"{_named(each['loc'])}{each['msg'].removeprefix('Value error, ')}" for each in found]
    raise SpecError(f"Settings must be complete and valid; received wrong ones: {'; '.join(wrong)}. Correct them.")


def _named(place: tuple[int | str, ...]) -> str:
    return f"{variable(str(place[0]))}: " if place else ""


def embedded(home: Path) -> Settings:
    """All state in that folder, whatever the environment says."""
    return Settings.model_construct(home=home)


def plain(secret: SecretStr | None) -> str | None:
    """The value itself, for the library that needs it."""
    return secret.get_secret_value() if secret is not None else None
