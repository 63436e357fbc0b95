"""Compute the payments model's features from its own SQL and Feast view, in memory: rows in, features out. No Feast."""

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.errors import FeatureError
from selfheal_assets.project import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

TRANSFORM = PROJECT / "feature_repo" / "transforms" / "payments.sql"
VIEW = PROJECT / "feature_repo" / "views" / "payments.py"
KEY, TIMESTAMP = "account_id", "event_timestamp"
HISTORY = ("payments_1h", "amount_mean_30d", "amount_max_6h", "distinct_merchants_6h", "seconds_since_previous")
ON_DEMAND = ("amount_ratio", "log_amount")
HISTORY_COLUMNS = (KEY, TIMESTAMP, "amount", "merchant_id")
HISTORY_BATCHES = 120
"""Thirty days of batches of six hours: the transform's longest window."""


class PaymentsFeatures:
    """Batches of clean payments, one after another, to their point-in-time features."""

    def __init__(self, request: tuple[str, ...]) -> None:
        self._request = request
        self.names = (*request, *HISTORY, *ON_DEMAND)
        self._sql = TRANSFORM.read_text(encoding="utf-8")
        self._on_demand = on_demand_function(VIEW, "payment_amounts")
        self._rows: list[pd.DataFrame] = []
        self._computed: list[pd.DataFrame] = []

    def __call__(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """Row by row what was known right before each payment, and the payment beside it."""
        import pandas as pd

        self._computed.append(self._transformed(rows))
        self._rows.append(rows[list(HISTORY_COLUMNS)])
        del self._rows[:-HISTORY_BATCHES], self._computed[:-HISTORY_BATCHES]
        known = pd.concat(self._computed).sort_values(TIMESTAMP, kind="stable")
        wanted = rows[[KEY, TIMESTAMP]].reset_index(drop=True).sort_values(TIMESTAMP, kind="stable")
        joined = pd.merge_asof(wanted, known, on=TIMESTAMP, by=KEY, tolerance=pd.Timedelta(days=30))
        history = joined.set_axis(wanted.index, axis=0).sort_index()[list(HISTORY)]
        plain = rows[list(self._request)].reset_index(drop=True)
        inputs = pd.concat([plain, history], axis=1)
        compared = pd.DataFrame(self._on_demand({str(name): inputs[name].tolist() for name in inputs}))
        return pd.concat([plain, history, compared], axis=1)

    def _transformed(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        import duckdb
        import pandas as pd

        history = pd.concat(self._rows) if self._rows else rows[list(HISTORY_COLUMNS)].head(0)
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("batch", rows)
            connection.register("history", history)
            found: pd.DataFrame = connection.sql(self._sql).df()
        typed = {TIMESTAMP: rows[TIMESTAMP].dtype, **dict.fromkeys(HISTORY, "float64")}
        return found.dropna(subset=[KEY, TIMESTAMP]).astype(typed)


def on_demand_function(view: Path, name: str) -> "Callable[[dict[str, list[Any]]], dict[str, list[Any]]]":
    """The function of an on-demand view of mode python, from its source text alone, as Feast itself runs it."""
    tree = ast.parse(view.read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    if not found:
        raise FeatureError(f"{view} must define {name}; received a file without it. Restore the view.")
    function = found[0]
    function.decorator_list, function.returns = [], None
    for argument in function.args.args:
        argument.annotation = None
    scope: dict[str, Any] = {}
    exec(compile(ast.Module(body=[function], type_ignores=[]), str(view), "exec"), scope)
    made: Callable[[dict[str, list[Any]]], dict[str, list[Any]]] = scope[name]
    return made
