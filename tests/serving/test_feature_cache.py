"""The last answers of the feature store: what is kept, for how long, and whose is dropped first."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.serving.feature_cache import FeatureCache

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_an_answer_serves_for_its_age_and_no_longer() -> None:
    cache = FeatureCache(10, HOUR)
    cache.put({("a",): (1, None)}, NOW)
    assert cache.get(("a",), NOW + HOUR) == (1, None)
    assert cache.get(("a",), NOW + HOUR + timedelta(microseconds=1)) is None
    assert cache.get(("b",), NOW) is None


def test_without_an_age_nothing_is_kept() -> None:
    cache = FeatureCache(10, timedelta(0))
    cache.put({("a",): (1,)}, NOW)
    assert cache.get(("a",), NOW) is None
    assert len(cache) == 0


def test_an_answer_that_comes_late_does_not_replace_a_newer_one() -> None:
    cache = FeatureCache(10, HOUR)
    cache.put({("a",): (2,)}, NOW + timedelta(seconds=1))
    cache.put({("a",): (1,)}, NOW)
    assert cache.get(("a",), NOW) == (2,)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60), st.integers(1, 5))
def test_the_entities_seen_last_are_kept(steps: list[tuple[bool, int]], limit: int) -> None:
    cache = FeatureCache(limit, HOUR)
    seen: list[int] = []
    for put, entity in steps:
        if put:
            cache.put({(entity,): (entity,)}, NOW)
        elif entity not in seen:
            assert cache.get((entity,), NOW) is None
            continue
        else:
            assert cache.get((entity,), NOW) == (entity,)
        seen = [entity, *(other for other in seen if other != entity)][:limit]
        assert len(cache) == len(seen)
