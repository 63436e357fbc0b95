"""Computes an on-demand view's features from columns, as Feast does online. Never asks the store."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from selfheal_assets.adapters.feast_repository import ServicePlan, translated
from selfheal_assets.core.errors import FeatureError

if TYPE_CHECKING:
    import pandas as pd

_FLOATS, _INTEGERS = ("Float32", "Float64"), ("Int32", "Int64")


class OnDemandView:
    """One on-demand view of a service. Safe among threads when its function is."""

    def __init__(self, view: Any, plan: ServicePlan) -> None:
        """FeatureError for a view that cannot be computed from columns alone."""
        if view.aggregations or view.write_to_online_store or view.mode not in ("pandas", "python"):
            raise FeatureError(
                "An on-demand view must be computed on request, by pandas or Python; "
                f"received {view.name!r} of mode {view.mode!r}. Declare it so, or take it out of the service."
            )
        self._view = view
        sources = list(view.source_feature_view_projections.values())
        declared = {source.name for source in sources}
        self._hidden = {name for other, names in plan.stored.items() if other not in declared for name in names}
        self._full_names = {
            f"{source.name}__{field.name}": field.name for source in sources for field in source.features
        }
        self._types = {
            field.name: field.dtype.to_value_type() for field in view.features if field.name in plan.features
        }

    def compute(
        self, columns: Mapping[str, Sequence[Any]], kinds: Mapping[str, str], rows: int
    ) -> dict[str, list[Any]]:
        """The view's features of the service by name, one value a row, None where there is none.

        `kinds`: Feast's types of the columns. As in Feast, the function does not see features of views that it does not
        declare. A column without any value keeps its declared type, where Feast passes objects: a single row that lacks
        a value is computed like one among others.
        """
        seen = {name: list(values) for name, values in columns.items() if name not in self._hidden}
        with translated(f"The on-demand view {self._view.name!r}", "Correct its function."):
            found = self._of_frame(seen, kinds) if self._view.mode == "pandas" else self._of_lists(seen, rows)
            computed = {name: self._as_declared(name, found[name]) for name in self._types}
        wrong = {name: len(values) for name, values in computed.items() if len(values) != rows}
        if wrong:
            raise FeatureError(
                f"The on-demand view {self._view.name!r} must give a value for each of {rows} rows; received {wrong}. "
                "Correct its function."
            )
        return computed

    def _of_frame(self, seen: dict[str, list[Any]], kinds: Mapping[str, str]) -> dict[str, Any]:
        import pandas as pd

        arrays = {name: _typed(values, kinds[name]) for name, values in seen.items()}
        arrays |= {full: arrays[short].copy() for full, short in self._full_names.items()}
        # Every array is the frame's own: what copying them once more would cost is a fifth of a row's time.
        result = self._view.feature_transformation.udf(pd.DataFrame(arrays, copy=False))
        return {name: _plain(result[name]) for name in self._types}

    def _of_lists(self, seen: dict[str, list[Any]], rows: int) -> dict[str, Any]:
        if not self._view.singleton:
            result = self._view.transform_dict(seen)
            return {name: _listed(result[name]) for name in self._types}
        # Feast computes the first row only of a function that takes one row.
        each = [
            self._view.transform_dict({name: [values[row]] for name, values in seen.items()}) for row in range(rows)
        ]
        return {name: [result[name] for result in each] for name in self._types}

    def _as_declared(self, name: str, values: Any) -> list[Any]:
        """Through Feast's own conversions, to the type that the view declares."""
        from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values

        protos = python_values_to_proto_values(values, self._types[name])
        return [_or_none(feast_value_type_to_python_type(proto)) for proto in protos]


def _typed(values: list[Any], kind: str) -> Any:
    """The column that Feast's way through Arrow gives: missing whole numbers make it one of floats."""
    if kind in _FLOATS or (kind in _INTEGERS and None in values):
        return np.array(values, dtype="float64")
    if kind in _INTEGERS:
        return np.array(values, dtype="int64")
    if kind == "String":
        return np.array(values, dtype=object)
    import pyarrow as pa

    return pa.array(values).to_pandas()


def _plain(column: "pd.Series") -> "np.ndarray":
    """As Arrow hands it on: a missing value among whole numbers or truth values is NaN or None, not pandas' NA."""
    import pyarrow as pa

    plain: np.ndarray
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
        plain = column.to_numpy()
    else:
        plain = pa.Array.from_pandas(column).to_numpy(zero_copy_only=False)
    return plain


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _or_none(value: Any) -> Any:
    """NaN is the one value that is not itself."""
    return value if value == value else None
