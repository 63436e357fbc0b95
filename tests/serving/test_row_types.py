"""Columns of a request's row: entities are always among them, whether Feast knows them or not."""

from served import served_spec

from selfheal_assets.serving.schemas import row_types


def test_entities_are_of_the_store_where_it_knows_them() -> None:
    types = row_types(served_spec(), {"account_id": "Int64"}, {"amount": "Float64"}, {"account_id": "string"})
    assert types.entities == {"account_id": "Int64"}


def test_a_model_that_keeps_no_features_has_its_entities_too() -> None:
    """The resolver asks for them and the landed batch must have them, though no view names a join key."""
    types = row_types(served_spec(), {}, {}, {"account_id": "integer"})
    assert types.entities == {"account_id": "integer"}
    assert row_types(served_spec(), {}, {}, {}).entities == {"account_id": "string"}
