"""Keep JSON documents among the files of an MLflow run: document in, document out. Never touches the registry."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.mlflow_runs import FILES
from selfheal_assets.core.errors import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient


def log_document(client: "MlflowClient", run_id: str, name: str, document: Mapping[str, Any]) -> None:
    """Beside the model's files as `<name>.json`; raises MLflow's errors, and ValueError for NaN."""
    client.log_text(run_id, json.dumps(document, indent=1, allow_nan=False), f"{FILES}/{name}.json")


def read_document(client: "MlflowClient", run_id: str, name: str) -> dict[str, Any] | None:
    """None when there is none; raises MLflow's errors, and RegistryError when it is not whole."""
    place = f"{FILES}/{name}.json"
    if place not in [found.path for found in client.list_artifacts(run_id, FILES)]:
        return None
    with tempfile.TemporaryDirectory(prefix="selfheal-document-") as scratch:
        text = Path(client.download_artifacts(run_id, place, scratch)).read_bytes()
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise RegistryError(
            f"a kept document must be a JSON object; received {place} of run {run_id} ({error}). "
            "Validate the version again."
        ) from error
