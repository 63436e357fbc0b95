"""Declares the features of the payments model: what an account did before, and how this payment compares."""

from datetime import timedelta
from typing import Any

from entities import account
from feast import FeatureView, Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String
from sources import history_source

payments_history = FeatureView(
    name="payments_history",
    description="The account's behaviour up to its last payment; see transforms/payments.sql.",
    entities=[account],
    # The longest window of the transform: what is older says nothing about the account today.
    ttl=timedelta(days=30),
    schema=[
        Field(name="account_id", dtype=String),
        Field(name="payments_1h", dtype=Int64, description="Payments in one hour."),
        Field(name="amount_mean_30d", dtype=Float64, description="Mean amount of 30 days."),
        Field(name="amount_max_6h", dtype=Float64, description="Largest amount of 6 hours."),
        Field(name="distinct_merchants_6h", dtype=Int64, description="Different merchants in 6 hours."),
        Field(name="seconds_since_previous", dtype=Float64, description="Between the account's last two payments."),
    ],
    source=history_source("payments"),
)

payment_request = RequestSource(name="payment_request", schema=[Field(name="amount", dtype=Float64)])


# Feast runs the function from its source text: what it needs must be imported inside it. Plain lists, as a model server
# computes a row at a time: a frame of one row takes it a millisecond.
@on_demand_feature_view(
    sources=[payments_history, payment_request],
    schema=[Field(name="amount_ratio", dtype=Float64), Field(name="log_amount", dtype=Float64)],
    mode="python",
    description="This payment beside the account's usual ones.",
)
def payment_amounts(inputs: dict[str, Any]) -> dict[str, Any]:
    """amount / amount_mean_30d, missing without a positive mean; log(1 + amount), missing for negative amounts."""
    from math import log1p, nan

    amounts = [nan if amount is None else float(amount) for amount in inputs["amount"]]
    means = [nan if mean is None else float(mean) for mean in inputs["amount_mean_30d"]]
    # Not a number is neither positive nor negative: what is missing stays so.
    return {
        "amount_ratio": [amount / mean if mean > 0 else nan for amount, mean in zip(amounts, means, strict=True)],
        "log_amount": [log1p(amount) if amount >= 0 else nan for amount in amounts],
    }
