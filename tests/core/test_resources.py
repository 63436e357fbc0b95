"""What a training's pod is given: quantities are read, wrong ones refused, memory grows to its most and no further."""

import pytest

from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.model_spec import TrainingSpec
from selfheal_assets.core.resources import amount, can_grow, memory_after, pod_resources


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("4Gi", 4 * 2**30), ("1500M", 1.5e9), ("500m", 0.5), ("2", 2.0), (2, 2.0), ("0.5Ti", 2**39), ("1k", 1e3)],
)
def test_quantities_are_read(quantity: object, expected: float) -> None:
    assert amount(quantity) == expected


@pytest.mark.parametrize("quantity", ["much", "4 Gi", "-1", "Gi", "1e3", None, [], "4GiB", ""])
def test_what_is_none_is_not_read(quantity: object) -> None:
    assert amount(quantity) is None


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"gpu": 1}, r"received \['gpu'\]"),
        ({"memory": "much"}, "received {'memory': 'much'}"),
        ({"cpu": 0}, "received {'cpu': 0}"),
        ({"max_memory": "4Gi"}, "needs training.resources.memory"),
        ({"memory": "4Gi", "max_memory": "2Gi"}, "at least training.resources.memory, 4Gi; received 2Gi"),
    ],
)
def test_what_cannot_be_is_refused(resources: dict[str, float | str], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        TrainingSpec(resources=resources)


def test_memory_doubles_up_to_the_most() -> None:
    declared = {"memory": "4Gi", "max_memory": "10Gi"}
    assert [memory_after(declared, times) for times in range(4)] == ["4Gi", "8Gi", "10Gi", "10Gi"]
    assert [can_grow(declared, times) for times in range(4)] == [False, True, True, False]
    undeclared = {"memory": "4Gi"}
    assert [memory_after(undeclared, times) for times in range(5)] == ["4Gi", "8Gi", "16Gi", "16Gi", "16Gi"]
    assert memory_after({"cpu": 2}, 3) is None
    assert not can_grow({}, 1)


def test_what_is_not_declared_is_not_asked_for() -> None:
    assert pod_resources({}) == {}
    assert pod_resources({"cpu": 2}) == {"requests": {"cpu": "2"}}
    expected = {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "2Gi"}}
    assert pod_resources({"cpu": "500m", "memory": "1Gi"}, 1) == expected
