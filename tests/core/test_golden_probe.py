"""The golden probe: through JSON and back unchanged, what contradicts it, and what is no probe."""

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.core.errors import ServingError
from selfheal_assets.core.golden_probe import TOLERANCE, GoldenProbe

FILES = {"model.ubj": "00ff"}
SCORES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


@given(SCORES, st.data())
def test_it_comes_back_from_json_as_it_was(scores: list[float], data: st.DataObject) -> None:
    values = st.one_of(
        st.none(), st.text(), st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)
    )
    column = data.draw(st.lists(values, min_size=len(scores), max_size=len(scores)))
    probe = GoldenProbe(columns={"x": column}, scores=scores, files=FILES)
    again = GoldenProbe.read(json.loads(json.dumps(probe.document(), allow_nan=False)))
    assert again == probe
    assert again.contradiction(scores) is None


def test_what_json_cannot_hold_is_missing() -> None:
    values = [np.float64(1.5), np.int64(3), np.bool_(True), np.str_("a"), np.nan, np.inf, object()]
    written = GoldenProbe(columns={"x": values}, scores=np.zeros(7).tolist(), files=FILES).document()
    assert written["columns"]["x"] == [1.5, 3, True, "a", None, None, None]


@pytest.mark.parametrize(
    ("given_scores", "told"),
    [
        ([0.25, 0.5 + 2 * TOLERANCE], r"1 of 2 scores differ; in row 1 0\.500002 stands for 0\.5"),
        ([0.25, float("nan")], "1 of 2 scores differ; in row 1 nan stands for 0.5"),
        ([0.9, float("nan")], "2 of 2 scores differ; in row 1 nan"),
        ([0.25], "1 scores for 2 rows"),
        ([], "0 scores for 2 rows"),
    ],
)
def test_other_scores_contradict(given_scores: list[float], told: str) -> None:
    probe = GoldenProbe(columns={"x": [1.0, 2.0]}, scores=[0.25, 0.5], files=FILES)
    assert probe.contradiction([0.25, 0.5 + TOLERANCE / 2]) is None
    assert re.search(told, probe.contradiction(given_scores) or "")


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"columns": {}, "scores": [], "files": FILES},
        {"columns": {"x": []}, "scores": [], "files": FILES},
        {"columns": [1], "scores": [0.5], "files": FILES},
        {"columns": {"x": [1, 2]}, "scores": [0.5], "files": FILES},
        {"columns": {"x": [1]}, "scores": ["0.5"], "files": FILES},
        {"columns": {"x": [1]}, "scores": [None], "files": FILES},
        {"columns": {"x": "1"}, "scores": [0.5], "files": FILES},
        {"columns": {"x": [1]}, "scores": [0.5]},
        {"columns": {"x": [1]}, "scores": [0.5], "files": {}},
        {"columns": {"x": [1]}, "scores": [0.5], "files": {"model.ubj": None}},
    ],
)
def test_what_proves_nothing_is_no_probe(document: dict[str, Any] | None) -> None:
    with pytest.raises(ServingError, match="a version must have a golden probe"):
        GoldenProbe.read(document)
