"""The types of a table's columns, as its values are."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from selfheal_assets.adapters.column_types import observed_types


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", None], "string"),
        ([1, 2], "integer"),
        ([1.0, np.nan], "integer"),
        ([1.5, np.nan], "float"),
        ([1.0, np.inf], "float"),
        ([True, None], "boolean"),
        ([None, None], "missing"),
        ([], "missing"),
        ([1.0, "abc"], "mixed"),
        (pd.to_datetime(["2026-01-01"], utc=True), "timestamp"),
        (pd.Categorical(["a", "b"]), "string"),
        (pd.array([1, None], dtype="Int64"), "integer"),
        (pd.array(["a", None], dtype="string"), "string"),
    ],
)
def test_observed_types(values: Any, kind: str) -> None:
    found = observed_types(pd.DataFrame({"c": values}))["c"]
    assert found.startswith(kind)


def test_a_repeated_column_name_is_marked() -> None:
    rows = pd.DataFrame([[1, "x"]], columns=["c", "c"])
    assert observed_types(rows) == {"c": "integer", "c (repeated)": "string"}
