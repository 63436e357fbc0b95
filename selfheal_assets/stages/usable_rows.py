"""Tell what keeps rows from being used at all, whatever checks were declared or waived. Never changes a value."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from selfheal_assets.core.model_spec import ModelSpec

if TYPE_CHECKING:
    import pandas as pd


def unusable(spec: ModelSpec, parts: "Iterable[pd.DataFrame]") -> list[str]:
    """Why the stages after the checks could not read these rows: one reason a fact, none when they can.

    A declaration may leave a check out and a release may waive it; a column that is missing, a time that is no time
    and a number that is text would still crash every later run over the batch.
    """
    data, features = spec.data, spec.features
    needed = [data.event_id, data.event_timestamp, data.label, *data.entities, *features.request]
    numbers = [data.label, *(name for name in features.request if name not in features.categorical)]
    timeless, texts = False, dict.fromkeys(numbers, False)
    for rows in parts:
        missing = [name for name in needed if name not in rows]
        if missing:
            return [f"the columns {missing} must be there, whatever is waived"]
        timeless |= not _are_times(rows[data.event_timestamp])
        texts = {name: found or not _are_numbers(rows[name]) for name, found in texts.items()}
    reasons = [f"every {data.event_timestamp} must be a time, whatever is waived"] if timeless else []
    if wrong := [name for name, found in texts.items() if found]:
        reasons.append(f"the columns {wrong} must hold numbers, whatever is waived")
    return reasons


def _are_times(values: "pd.Series") -> bool:
    import pandas as pd

    return pd.api.types.is_datetime64_any_dtype(values) and bool(values.notna().all())


def _are_numbers(values: "pd.Series") -> bool:
    import pandas as pd

    return not (pd.to_numeric(values, errors="coerce").isna() & values.notna()).any()
