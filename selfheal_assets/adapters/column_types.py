"""Read the columns' declared types from a model's checks file. Never complains: the checks' own reader does."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from selfheal_assets.core.model_spec import ModelSpec


def load_types(folders: Sequence[Path], spec: ModelSpec) -> dict[str, str]:
    """Column name to string, float, integer, boolean or timestamp; of the first folder that has the model's file."""
    file = next((path for folder in folders if (path := folder / f"{spec.name}.yml").is_file()), None)
    if file is None:
        return {}
    declared = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {
        column["name"]: column["data_type"]
        for model in declared["models"]
        if model["name"] == spec.name
        for column in model.get("columns", [])
        if "data_type" in column
    }
