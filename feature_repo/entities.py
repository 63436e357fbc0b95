"""Declares what features are keyed by. Never says where they come from."""

from feast import Entity, ValueType

account = Entity(
    name="account",
    join_keys=["account_id"],
    value_type=ValueType.STRING,
    description="The paying account.",
)
