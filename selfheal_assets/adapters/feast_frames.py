"""Turns a model's rows into what Feast is asked, and Feast's answers into feature columns. Never asks Feast itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.feast_repository import ServicePlan
from selfheal_assets.adapters.feast_transforms import TIMESTAMP, sql_columns, whole_seconds
from selfheal_assets.core.errors import FeatureError
from selfheal_assets.core.model_spec import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

_ROW = "selfheal_row"
NO_ENTITY: Mapping[str, Any] = {"String": "\0", "Int32": -(2**31), "Int64": -(2**63)}
"""Asked online in place of a missing key, which Feast refuses: a key that no entity has."""


def join_keys(views: Sequence[Any]) -> list[str]:
    """The join keys of all views, without repeats."""
    return list(dict.fromkeys(key.name for view in views for key in view.entity_columns))


def files_of(view: Any) -> Path | None:
    """The folder whose files the view reads; None where it reads none, but a warehouse's table, say."""
    from feast import FileSource

    source = getattr(view, "batch_source", None)
    return Path(source.path).parent if isinstance(source, FileSource) else None


def published_columns(views: Sequence[Any]) -> dict[str, str]:
    """Column -> DuckDB type of what the views read: join keys, then features."""
    keys = {key.name: str(key.dtype) for view in views for key in view.entity_columns}
    return sql_columns(keys | {feature.name: str(feature.dtype) for view in views for feature in view.features})


def utc(rows: "pd.DataFrame", timestamp: str) -> "pd.DataFrame":
    """The rows with the timestamp in microseconds UTC; naive values are read as UTC."""
    import pandas as pd

    _require(rows, [timestamp])
    try:
        moments = pd.to_datetime(rows[timestamp], utc=True).astype("datetime64[us, UTC]")
    except (ValueError, TypeError, OverflowError) as error:
        raise FeatureError(f"{timestamp!r} must hold times; {error}. Quarantine the rows.") from error
    return rows.assign(**{timestamp: moments})


def entity_frame(spec: ModelSpec, plan: ServicePlan, rows: "pd.DataFrame") -> "pd.DataFrame":
    """What a point-in-time join is asked: keys, event timestamp, inputs of on-demand views, and the row's number."""
    import numpy as np

    timestamp = spec.data.event_timestamp
    moments = utc(rows, timestamp)[timestamp]
    if moments.isna().any():
        raise FeatureError(
            f"{timestamp!r} must not be missing in a point-in-time join; received {int(moments.isna().sum())} "
            "rows without it. Quarantine them."
        )
    asked = _asked(plan, rows)
    asked[TIMESTAMP] = moments.array
    asked[_ROW] = np.arange(len(rows))
    return asked


def request_frame(plan: ServicePlan, rows: "pd.DataFrame") -> "pd.DataFrame":
    """What the online store is asked: keys, and inputs of on-demand views."""
    asked = _asked(plan, rows)
    for key, kind in plan.join_keys.items():
        asked[key] = asked[key].where(asked[key].notna(), NO_ENTITY[kind])
    return asked


def _asked(plan: ServicePlan, rows: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    _require(rows, [*plan.join_keys, *plan.inputs])
    columns = {name: _as_declared(rows[name], kind) for name, kind in {**plan.join_keys, **plan.inputs}.items()}
    return pd.DataFrame({name: column.to_numpy() for name, column in columns.items()}, index=range(len(rows)))


def _as_declared(column: "pd.Series", kind: str) -> "pd.Series":
    """Feast compares keys, and computes, with the declared type: a number must not meet a text."""
    if kind == "String":
        return _texts(column)
    if kind in ("Float32", "Float64"):
        return _numbers(column)
    return column


def in_order(joined: "pd.DataFrame", expected: int) -> "pd.DataFrame":
    """Feast's join in the order of the rows asked; FeatureError when it lost or multiplied any."""
    import numpy as np

    ordered = joined.sort_values(_ROW, ignore_index=True)
    if len(ordered) != expected or not np.array_equal(ordered[_ROW], np.arange(expected)):
        raise FeatureError(
            f"A point-in-time join must give one row for each asked; received {len(joined)} for {expected}. "
            "Check that each feature view has one value an entity and time."
        )
    return ordered


def without_stale_keys(
    spec: ModelSpec, plan: ServicePlan, rows: "pd.DataFrame", asked: "pd.DataFrame", answer: Mapping[str, Sequence[Any]]
) -> "pd.DataFrame":
    """The rows of `asked` that got values older than a view's ttl at the row's event time, without that view's keys.

    Numbered as in `asked`. Views that share a key are dropped together. Without event times in `rows`: no rows.
    """
    import numpy as np

    timestamp = spec.data.event_timestamp
    changed = np.zeros(len(asked), dtype=bool)
    if timestamp not in rows:
        return asked[changed]
    moments = whole_seconds(utc(rows, timestamp)[timestamp])
    asked = asked.copy()
    for view in plan.history:
        known = [f"{feature.name}__ts" for feature in view.features if f"{feature.name}__ts" in answer]
        if not view.ttl or not known:
            continue
        since = np.array(answer[known[0]], dtype="int64")
        stale = (since > 0) & (moments > since + view.ttl.total_seconds())
        for key in join_keys([view]):
            asked[key] = asked[key].mask(stale, NO_ENTITY[plan.join_keys[key]])
        changed |= stale
    return asked[changed]


def assemble(spec: ModelSpec, plan: ServicePlan, rows: "pd.DataFrame", answer: "pd.DataFrame") -> "pd.DataFrame":
    """The model's feature columns, in order and with the index of `rows`: numbers as float64, categories as text."""
    import pandas as pd

    _require(rows, spec.features.request)
    columns = {name: rows[name] for name in spec.features.request}
    for name in plan.features:
        columns[name] = answer[name] if name in answer else pd.Series(dtype="float64")
    shaped = {
        name: (_texts(column) if name in spec.features.categorical else _numbers(column)).to_numpy()
        for name, column in columns.items()
    }
    return pd.DataFrame(shaped, index=rows.index, columns=list(columns))


def _texts(column: "pd.Series") -> "pd.Series":
    """Python strings; what is missing is None."""
    texts = column.astype("string").astype(object)
    return texts.where(texts.notna(), None)


def _numbers(column: "pd.Series") -> "pd.Series":
    import pandas as pd

    try:
        return pd.to_numeric(column).astype("float64")
    except (ValueError, TypeError) as error:
        raise FeatureError(
            f"Feature {column.name!r} must be numeric; {error}. Declare it in features.categorical, "
            "or quarantine the rows."
        ) from error


def _require(rows: "pd.DataFrame", columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in rows]
    if missing:
        raise FeatureError(
            f"Rows must have the columns {list(columns)}; {missing} are missing. Send them or correct the spec."
        )
