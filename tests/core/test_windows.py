"""The last n statements about a signal: which state they are, and that nothing but event time orders them."""

import pytest
from given import LETTERS, NOW, history, measured
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.windows import State, window

DRIFT = Signal.DRIFT
TABLE = [
    ("", State.UNKNOWN),
    ("C", State.CLEAR),
    ("U", State.UNKNOWN),
    ("R", State.RAISED),
    ("CU", State.UNKNOWN),
    ("UC", State.CLEAR),
    ("RU", State.RAISED),
    ("RC", State.RAISED),
    ("RCC", State.RAISED),
    ("RCCC", State.CLEAR),
    ("RCCU", State.UNKNOWN),
    ("CRC", State.RAISED),
    ("RR", State.PERSISTENT),
    ("RCR", State.PERSISTENT),
    ("RRC", State.PERSISTENT),
    ("RUR", State.PERSISTENT),
    ("RRU", State.PERSISTENT),
    ("RRCC", State.RAISED),
    ("RRCCC", State.CLEAR),
    ("RR C", State.PERSISTENT),
]
"""One letter a batch, oldest first: clear, raised, unknown, or a gap; two of the last three make it persistent."""


@pytest.mark.parametrize(("letters", "state"), TABLE)
def test_the_state_of_a_history(letters: str, state: State) -> None:
    assert window(history(DRIFT, letters), DRIFT, k=2, n=3).state is state


@pytest.mark.parametrize(("k", "state"), [(1, State.PERSISTENT), (2, State.PERSISTENT), (3, State.RAISED)])
def test_k_is_how_many_must_be_raised(k: int, state: State) -> None:
    assert window(history(DRIFT, "RCRC"), DRIFT, k=k, n=4).state is state


def test_other_signals_and_batches_that_do_not_count_are_left_out() -> None:
    mixed = [*history(DRIFT, "RR"), *history(Signal.PERFORMANCE, "CC")]
    assert {e.signal for e in window(mixed, DRIFT, k=2, n=3).evidence} == {DRIFT}
    without = window(mixed, DRIFT, k=2, n=3, without={"b2"})
    assert [e.batch_id for e in without.evidence] == ["b1"]
    assert without.state is State.RAISED


def test_batches_of_one_moment_are_told_apart_by_name() -> None:
    pair = [measured(DRIFT, Status.RAISED, 2, event_time=NOW), measured(DRIFT, Status.CLEAR, 1, event_time=NOW)]
    for order in (pair, pair[::-1]):
        assert [e.batch_id for e in window(order, DRIFT, k=1, n=1).evidence] == ["b2"]


def test_its_words_say_what_was_seen() -> None:
    def words(letters: str) -> str:
        return str(window(history(Signal.SCORE_DRIFT, letters), Signal.SCORE_DRIFT, k=2, n=3))

    assert words("") == "score drift not measured"
    assert words("CU") == "score drift unknown (score_drift of b2)"
    assert words("C") == "score drift clear (score_drift of b1)"
    assert words("RC").startswith("score drift raised in 1 of the last 2 ")
    assert "(acted on from 2)" in words("RC")


@given(st.text("CRU ", max_size=8), st.integers(1, 4), st.integers(0, 3), st.randoms(use_true_random=False))
def test_no_order_of_arrival_changes_a_window(letters: str, k: int, more: int, random: object) -> None:
    evidence: list[Evidence] = history(DRIFT, letters)
    shuffled = evidence[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    straight = window(evidence, DRIFT, k=k, n=k + more)
    assert window(shuffled, DRIFT, k=k, n=k + more) == straight
    last = [LETTERS[letter] for letter in letters if letter != " "][-(k + more) :]
    raised = last.count(Status.RAISED)
    assert (straight.state is State.PERSISTENT) == (raised >= k)
    assert (straight.state is State.RAISED) == (0 < raised < k)
    assert (straight.state is State.CLEAR) == (raised == 0 and last[-1:] == [Status.CLEAR]), "doubt is not clear"
