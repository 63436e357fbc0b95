"""Scoring plain columns on real XGBoost: the same matrix as a frame's, for any values, and refusals by name."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from selfheal_assets.adapters.feature_schema import FeatureSchema
from selfheal_assets.adapters.xgboost_trainer import XGBoostModel
from selfheal_assets.core.errors import TrainingError

SCHEMA = FeatureSchema(
    names=("amount", "device", "age", "country"),
    categories={"device": ("1", "1.0", "True", "a", "b", "inf"), "country": ()},
)
MISSING = st.sampled_from([None, float("nan"), pd.NA, pd.NaT])
NUMBERS = st.one_of(
    MISSING,
    st.floats(),
    st.integers(),
    st.booleans(),
    st.just(10**400),
    st.just("12"),
    st.floats(width=32).map(np.float32),
)
LEVELS = st.one_of(
    MISSING,
    st.text(max_size=4),
    st.sampled_from(["a", "b", "1", "True"]),
    st.floats(),
    st.integers(-2, 2),
    st.booleans(),
)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Any]]:
    n = draw(st.integers(0, 6))
    kinds = {name: LEVELS if name in SCHEMA.categories else NUMBERS for name in (*SCHEMA.names, "stranger")}
    return {name: draw(st.lists(values, min_size=n, max_size=n)) for name, values in kinds.items()}


@settings(max_examples=400, deadline=None)
@given(tables())
def test_columns_become_the_numbers_that_a_frame_becomes(table: dict[str, list[Any]]) -> None:
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in table.items()})
    encoded = SCHEMA.encode_columns(table)
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, SCHEMA.encode(frame))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(), st.sampled_from(["a", "b", "zebra", None]), st.booleans()), min_size=1))
def test_a_frame_s_own_types_make_no_difference(rows: list[tuple[Any, ...]]) -> None:
    amount, device, flag = zip(*rows, strict=True)
    table = {"amount": amount, "device": device, "age": flag, "country": device}
    np.testing.assert_array_equal(SCHEMA.encode_columns(table), SCHEMA.encode(pd.DataFrame(table)))


@pytest.fixture(scope="module")
def model() -> XGBoostModel:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {"amount": rng.normal(size=500), "device": pd.Series(rng.choice(["a", "b"], 500), dtype="string")}
    )
    schema = FeatureSchema.learn(frame, ["device"])
    label = (frame["amount"] + (frame["device"] == "a") > 0.5).astype(int).to_numpy()
    booster = xgboost.train({"objective": "binary:logistic"}, schema.matrix(frame, label), 10)
    return XGBoostModel(booster=booster, schema=schema, parameters={}, best_iteration=7)


def test_columns_and_frames_score_alike(model: XGBoostModel) -> None:
    table = {"device": ["a", None, "zebra"], "amount": [0.2, float("inf"), 1]}
    scores = model.score_columns(table)
    assert scores.shape == (3,)
    np.testing.assert_array_equal(scores, model.score(pd.DataFrame(table)))
    assert model.score_columns({"device": [], "amount": []}).shape == (0,)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"amount": [1.0]}, r"received columns \['amount'\], in which \['device'\]"),
        ({"amount": [1.0], "device": ["a", "b"]}, r"not all are of one length: \{'amount': 1, 'device': 2\}"),
        ({"amount": ["12 euros"], "device": ["a"]}, "feature 'amount' must hold numbers; received str"),
        ({"amount": [1.0, [2.0]], "device": ["a", "b"]}, "feature 'amount' must hold numbers; received list"),
        ({"amount": [[1.0], [2.0]], "device": ["a", "b"]}, "feature 'amount' must hold numbers; received list"),
        ({"amount": [{}], "device": ["a"]}, "feature 'amount' must hold numbers; received dict"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(model: XGBoostModel, table: dict[str, list[Any]], told: str) -> None:
    with pytest.raises(TrainingError, match=told):
        model.score_columns(table)


def test_a_number_beyond_every_float_is_missing_in_a_frame_too(model: XGBoostModel) -> None:
    table = {"amount": [10**400, None], "device": ["a", "a"]}
    first, second = model.score(pd.DataFrame({name: pd.Series(of, dtype=object) for name, of in table.items()}))
    assert first == second
