"""Tell the columns' types: as a checks file declares them, as a table's values are. Never judges either."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.declared_yaml import loaded

if TYPE_CHECKING:
    import pandas as pd

_INFERRED = {"datetime64": "timestamp", "datetime": "timestamp"}
_NUMERIC = ("integer", "floating", "mixed-integer-float", "decimal")


def load_types(folders: Sequence[Path], spec: ModelSpec) -> dict[str, str]:
    """Column name to string, float, integer, boolean or timestamp; of the first folder that has the model's file."""
    file = next((path for folder in folders if (path := folder / f"{spec.name}.yml").is_file()), None)
    if file is None:
        return {}
    declared = loaded(file.read_text(encoding="utf-8"))
    return {
        column["name"]: column["data_type"]
        for model in declared["models"]
        if model["name"] == spec.name
        for column in model.get("columns", [])
        if "data_type" in column
    }


def observed_types(rows: "pd.DataFrame") -> dict[str, str]:
    """Column name to the type of its values, `missing` where it has none; a repeated name is marked."""
    names = [str(name) for name in rows.columns]
    marked = [name if names.index(name) == place else repeated(name) for place, name in enumerate(names)]
    return {name: _observed_type(rows.iloc[:, place]) for place, name in enumerate(marked)}


def type_of_parts(parts: "Iterable[pd.Series]") -> str:
    """The same of one column's parts, all of one type but for whole numbers, which may be in some of them only."""
    kinds = {_observed_type(part) for part in parts} - {"missing"}
    if kinds == {"integer", "float"}:
        return "float"
    return "missing" if not kinds else kinds.pop() if len(kinds) == 1 else "mixed"


def repeated(name: str) -> str:
    """How a column is called whose name another has before it."""
    return f"{name} (repeated)"


def _observed_type(values: "pd.Series") -> str:
    import numpy as np
    import pandas as pd

    present = values.dropna()
    if present.empty:
        return "missing"
    if isinstance(present.dtype, pd.CategoricalDtype):
        present = present.astype(present.cat.categories.dtype)
    inferred = pd.api.types.infer_dtype(present, skipna=True)
    if inferred not in _NUMERIC:
        return _INFERRED.get(inferred, inferred)
    numbers = present.to_numpy(dtype=float)
    # Integers with missing values arrive as floats: their type is what the values are.
    return "integer" if np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all() else "float"
