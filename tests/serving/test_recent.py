"""Recent answers: the first of an id counts, the old ones go, and there are never too many."""

from selfheal_assets.serving.recent import RecentAnswers, fingerprint


def test_the_first_answer_of_an_id_counts() -> None:
    recent = RecentAnswers()
    assert recent.keep("e", 1, {"score": 0.1}, 0.0).answer == {"score": 0.1}
    assert recent.keep("e", 1, {"score": 0.2}, 1.0).answer == {"score": 0.1}
    assert recent.get("unknown", 0.0) is None


def test_an_old_answer_is_forgotten() -> None:
    recent = RecentAnswers(max_age_s=10.0)
    recent.keep("e", 1, {"score": 0.1}, 0.0)
    assert recent.get("e", 9.9) is not None
    assert recent.get("e", 10.0) is None
    assert recent.keep("e", 2, {"score": 0.2}, 11.0).answer == {"score": 0.2}
    recent.keep("f", 2, {}, 30.0)
    assert len(recent) == 1


def test_memory_is_bounded() -> None:
    recent = RecentAnswers(max_answers=100)
    for number in range(1_000):
        recent.keep(number, 0, {}, 0.0)
    assert len(recent) == 100
    assert recent.get(899, 0.0) is None
    assert recent.get(900, 0.0) is not None


def test_a_row_is_the_same_in_any_order() -> None:
    assert fingerprint({"a": 1.0, "b": None}) == fingerprint({"b": None, "a": 1.0})
    assert fingerprint({"a": 1.0, "b": None}) != fingerprint({"a": 1.0})
