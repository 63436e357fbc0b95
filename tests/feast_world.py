"""Make a real Feast store in a folder: the payments model, and an overlay with every kind of on-demand view."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from selfheal_assets.adapters.feast_features import FeastFeatures
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec, ServingSpec
from selfheal_assets.project import PROJECT

BEGIN = pd.Timestamp("2031-03-01", tz="UTC")
"""Event times run ahead of the wall clock, as in simulations."""
NOW = datetime(2031, 3, 7, tzinfo=UTC)
ACCOUNTS = 8
STORED = ["payments_1h", "amount_mean_30d", "amount_max_6h", "distinct_merchants_6h", "seconds_since_previous"]

MIXED = """
from datetime import timedelta

import pandas as pd
from entities import account
from feast import FeatureService, FeatureView, Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Bool, Float32, Float64, Int64, String
from sources import history_source
from views.payments import payments_history

asked = RequestSource(name="asked", schema=[Field(name="amount", dtype=Float64), Field(name="channel", dtype=String)])
account_days = FeatureView(
    name="account_days",
    entities=[account],
    ttl=timedelta(hours=1),
    schema=[Field(name="account_id", dtype=String), Field(name="known_days", dtype=Int64)],
    source=history_source("payments"),
)


@on_demand_feature_view(
    sources=[payments_history, asked],
    schema=[Field(name="rounded", dtype=Int64), Field(name="small", dtype=Float32), Field(name="seen", dtype=Bool),
            Field(name="named", dtype=String), Field(name="columns_seen", dtype=Int64)],
    mode="pandas",
)
def by_frame(inputs: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    counted = inputs["payments_history__payments_1h"].astype("float64").fillna(-1)
    return pd.DataFrame({
        "rounded": counted.astype("int64") * 3,
        "small": (inputs["amount"].astype("float64") / 3.0).astype("float32"),
        "seen": inputs["amount_mean_30d"].notna(),
        "named": inputs["channel"] + ":" + inputs.get("account_id", inputs["channel"]),
        "columns_seen": inputs.shape[1],
    })


@on_demand_feature_view(
    sources=[payments_history, asked],
    schema=[Field(name="ratio", dtype=Float64), Field(name="text", dtype=String)],
    mode="python",
)
def by_lists(inputs):
    pairs = zip(inputs["amount"], inputs["payments_history__amount_mean_30d"])
    return {
        "ratio": [amount / usual if amount is not None and usual else None for amount, usual in pairs],
        "text": [None if channel is None else channel.upper() for channel in inputs["channel"]],
    }


@on_demand_feature_view(
    sources=[asked], schema=[Field(name="cents", dtype=Int64)], mode="python", singleton=True
)
def by_row(inputs):
    return {"cents": None if inputs["amount"] is None else round(inputs["amount"] * 100)}


@on_demand_feature_view(sources=[asked], schema=[Field(name="inverse", dtype=Float64)], mode="python")
def fragile(inputs):
    return {"inverse": [1.0 / amount for amount in inputs["amount"]]}


mixed_v1 = FeatureService(name="mixed_v1", features=[payments_history[["payments_1h"]], by_frame, by_lists, by_row])
fragile_v1 = FeatureService(name="fragile_v1", features=[payments_history[["payments_1h"]], fragile])
request_v1 = FeatureService(name="request_v1", features=[by_row])
two_v1 = FeatureService(name="two_v1", features=[payments_history[["payments_1h"]], account_days, by_row])
"""


def model(service: str = "payments_v1", **serving: object) -> ModelSpec:
    """The payments model over one of the services."""
    return ModelSpec(
        name="payments",
        description="Fraud",
        owners=("team:risk",),
        data=DataSpec(
            event_id="payment_id", event_timestamp="event_timestamp", label="is_fraud", entities=("account_id",)
        ),
        features=FeaturesSpec(service=service, request=("amount", "channel"), categorical=("channel",)),
        serving=ServingSpec(**serving),  # type: ignore[arg-type]
    )


class FeastWorld:
    """A home whose online store knows the accounts `a0` to `a7`, up to six days after `BEGIN`."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.online_file = self.home / "feast" / "online.db"
        overlay = folder / "overlay"
        (overlay / "feature_repo" / "views").mkdir(parents=True)
        (overlay / "feature_repo" / "views" / "mixed.py").write_text(MIXED)
        self.roots = (PROJECT, overlay)
        self.clean = self.home / "clean" / "payments" / "b1.parquet"
        self.features = FeastFeatures(self.home, self.roots, lambda _: [self.clean])

    def publish(self) -> None:
        self.features.apply()
        self.clean.parent.mkdir(parents=True)
        rows = payments()
        rows.to_parquet(self.clean)
        self.features.publish(model(), "b1", rows)


def payments(rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    moments = BEGIN + pd.to_timedelta(np.sort(rng.integers(0, int(6 * 86_400e6), rows)), unit="us")
    return pd.DataFrame(
        {
            "payment_id": [f"p{number}" for number in range(rows)],
            "event_timestamp": moments.astype("datetime64[us, UTC]"),
            "account_id": [f"a{number}" for number in rng.integers(0, ACCOUNTS, rows)],
            "merchant_id": [f"m{number}" for number in rng.integers(0, 12, rows)],
            "channel": rng.choice(["web", "pos"], rows),
            "amount": np.round(rng.gamma(2.0, 20.0, rows), 2),
            "is_fraud": rng.integers(0, 2, rows),
        }
    )
