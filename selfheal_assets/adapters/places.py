"""From settings to the address of everything: each named service, or else its embedded place. Opens nothing."""

from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from selfheal_assets.adapters.feast_stores import FeastStores
from selfheal_assets.adapters.home_files import HomeFiles
from selfheal_assets.adapters.ledger_schema import MIGRATIONS
from selfheal_assets.adapters.turns import Alone, DatabaseTurns
from selfheal_assets.secrecy import discreet
from selfheal_assets.settings import Settings, plain


class Places:
    """Where each adapter finds what it keeps; shared by the code location and the model server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._home = settings.home

    @property
    def ledger_url(self) -> str:
        return plain(self._settings.ledger_url) or f"sqlite:///{self._home / 'ledger.db'}"

    @property
    def tracking_uri(self) -> str:
        return plain(self._settings.mlflow_url) or f"sqlite:///{self._home / 'mlflow' / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path | str:
        named = self._settings.mlflow_artifacts
        if named is None:
            return self._home / "mlflow" / "artifacts"
        return named if "://" in named else Path(named).expanduser()

    @property
    def tuning_url(self) -> str | None:
        return plain(self._settings.tuning_url)

    @property
    def feast(self) -> FeastStores:
        return FeastStores(
            registry_url=plain(self._settings.feast_registry_url), online_url=plain(self._settings.online_store_url)
        )

    @cached_property
    def alone(self) -> Alone | None:
        """Over machines where the ledger's database is shared by them; None for a file of each adapter's own."""
        return DatabaseTurns(self.ledger_url) if self.ledger_url.startswith("postgresql") else None

    def fingerprint(self) -> str:
        """Changes with the places, and with the schema that the ledger needs there; not with the passwords."""
        versions = sorted(path.name for path in (MIGRATIONS / "versions").glob("r*.py"))
        named = (
            self.ledger_url,
            self.tracking_uri,
            self.artifacts,
            self.tuning_url,
            self.feast.fingerprint(),
            plain(self._settings.dagster_storage_url),
            self._settings.store_root,
            versions,
        )
        return sha256(discreet("\0".join(map(str, named))).encode()).hexdigest()[:16]

    def files(self) -> HomeFiles:
        """Where batches stand."""
        if self._settings.store_root is None:
            return HomeFiles()
        from selfheal_assets.adapters.object_bucket import Bucket
        from selfheal_assets.adapters.object_files import ObjectFiles

        return ObjectFiles(self._home, Bucket(self._settings.store_root, self.object_options()))

    def object_options(self) -> dict[str, Any]:
        """For s3fs. What is unset comes from AWS's own chain."""
        named = {
            "key": plain(self._settings.s3_access_key_id),
            "secret": plain(self._settings.s3_secret_access_key),
            "endpoint_url": self._settings.s3_endpoint_url,
            "client_kwargs": {"region_name": self._settings.s3_region} if self._settings.s3_region else None,
        }
        return {name: value for name, value in named.items() if value is not None}

    def environment(self) -> dict[str, str]:
        """What MLflow's and boto's own code reads from the environment, to reach the same object store."""
        named = {
            "MLFLOW_S3_ENDPOINT_URL": self._settings.s3_endpoint_url,
            "AWS_ACCESS_KEY_ID": plain(self._settings.s3_access_key_id),
            "AWS_SECRET_ACCESS_KEY": plain(self._settings.s3_secret_access_key),
            "AWS_DEFAULT_REGION": self._settings.s3_region,
        }
        return {name: value for name, value in named.items() if value}
