"""Declares the features of the electricity model: recent prices and demand, and how the present demand compares."""

from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, String
from sources import history_source

region = Entity(name="region", join_keys=["region"], value_type=ValueType.STRING, description="The market's region.")

electricity_history = FeatureView(
    name="electricity_history",
    description="The market up to the last half hour; see transforms/electricity.sql.",
    entities=[region],
    # Half-hourly data: after two days without any, the market of then says nothing about now. It also keeps the
    # point-in-time join small, as there is one region only.
    ttl=timedelta(days=2),
    schema=[
        Field(name="region", dtype=String),
        Field(name="nswprice_last", dtype=Float64),
        Field(name="nswprice_mean_24h", dtype=Float64),
        Field(name="nswprice_mean_7d", dtype=Float64),
        Field(name="nswdemand_last", dtype=Float64),
        Field(name="nswdemand_mean_24h", dtype=Float64),
        Field(name="nswdemand_mean_7d", dtype=Float64),
    ],
    source=history_source("electricity"),
)

electricity_request = RequestSource(name="electricity_request", schema=[Field(name="nswdemand", dtype=Float64)])


# The present price must not come in: the label says whether it lies above its mean of the last 24 hours, so that
# price less nswprice_mean_24h is the answer itself (AUC 0.9999). What is known before the half hour is its demand.
# Feast runs the function from its source text: what it needs must be imported inside it.
@on_demand_feature_view(
    sources=[electricity_history, electricity_request],
    schema=[
        Field(name="last_price_above_24h", dtype=Float64),
        Field(name="demand_change", dtype=Float64),
        Field(name="demand_above_24h", dtype=Float64),
    ],
    mode="pandas",
    description="The last half hour's price and the present demand beside the recent ones.",
)
def electricity_changes(inputs: pd.DataFrame) -> pd.DataFrame:
    """Last price less its mean of 24 hours, demand less the last one, demand less its mean of 24 hours."""
    import pandas as pd

    demand = inputs["nswdemand"].astype("float64")
    return pd.DataFrame(
        {
            "last_price_above_24h": inputs["nswprice_last"].astype("float64")
            - inputs["nswprice_mean_24h"].astype("float64"),
            "demand_change": demand - inputs["nswdemand_last"].astype("float64"),
            "demand_above_24h": demand - inputs["nswdemand_mean_24h"].astype("float64"),
        }
    )


electricity_v1 = FeatureService(
    name="electricity_v1",
    features=[electricity_history, electricity_changes],
    description="Whether the price of New South Wales rises.",
)
