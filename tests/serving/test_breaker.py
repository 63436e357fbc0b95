"""The circuit breaker over a clock that the test sets: when it opens, whom it lets try, when it closes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from set_clock import SetClock

from selfheal_assets.serving.breaker import Breaker

FAILURES, SECONDS = 3, 60.0


def opened() -> tuple[Breaker, SetClock]:
    clock = SetClock()
    breaker = Breaker(FAILURES, SECONDS, clock)
    for _ in range(FAILURES):
        assert breaker.admits()
        breaker.failed()
    return breaker, clock


def test_only_failures_in_a_row_open_it() -> None:
    breaker = Breaker(FAILURES, SECONDS, SetClock())
    for _ in range(FAILURES - 1):
        breaker.failed()
    breaker.succeeded()
    for _ in range(FAILURES - 1):
        breaker.failed()
    assert breaker.admits()
    assert not breaker.open
    breaker.failed()
    assert breaker.open
    assert not breaker.admits()


def test_a_single_probe_tries_when_its_time_has_passed() -> None:
    breaker, clock = opened()
    clock.forward(seconds=SECONDS - 0.001)
    assert not breaker.admits()
    clock.forward(seconds=0.001)
    assert [breaker.admits() for _ in range(4)] == [True, False, False, False]
    assert breaker.open


def test_many_threads_get_one_probe_between_them() -> None:
    breaker, clock = opened()
    clock.forward(seconds=SECONDS)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: breaker.admits(), range(400))) == 1


def test_a_probe_that_succeeds_closes_it_and_one_that_fails_opens_it_again() -> None:
    breaker, clock = opened()
    clock.forward(seconds=SECONDS)
    assert breaker.admits()
    breaker.failed()
    clock.forward(seconds=SECONDS - 1)
    assert not breaker.admits()
    clock.forward(seconds=1)
    assert breaker.admits()
    breaker.succeeded()
    assert not breaker.open
    assert all(breaker.admits() for _ in range(3))
    breaker.failed()
    assert not breaker.open


def test_a_probe_that_is_never_heard_of_again_does_not_keep_it_open() -> None:
    breaker, clock = opened()
    clock.forward(seconds=SECONDS)
    assert breaker.admits()
    clock.forward(seconds=SECONDS)
    assert breaker.admits()


def test_a_clock_that_was_set_back_does_not_keep_it_open() -> None:
    breaker, clock = opened()
    clock.forward(seconds=-3600)
    assert breaker.admits()
    assert not breaker.admits()


class Told(RuleBasedStateMachine):
    """Against a model in plain words: failures in a row, and the moment of the last one or of the last probe."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = SetClock()
        self.breaker = Breaker(FAILURES, SECONDS, self.clock)
        self.in_a_row = 0
        self.quiet_since = self.clock.moment

    @rule()
    def fail(self) -> None:
        self.breaker.failed()
        self.in_a_row += 1
        self.quiet_since = self.clock.moment

    @rule()
    def succeed(self) -> None:
        self.breaker.succeeded()
        self.in_a_row = 0

    @rule(seconds=st.sampled_from([0.5, 29.0, 31.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.clock.forward(seconds=seconds)

    @precondition(lambda self: self.in_a_row >= FAILURES)
    @rule()
    def ask_while_open(self) -> None:
        due = self.clock.moment - self.quiet_since >= timedelta(seconds=SECONDS)
        assert self.breaker.admits() is due
        if due:
            self.quiet_since = self.clock.moment

    @precondition(lambda self: self.in_a_row < FAILURES)
    @rule()
    def ask_while_closed(self) -> None:
        assert self.breaker.admits()

    @invariant()
    def open_after_so_many_failures(self) -> None:
        assert self.breaker.open is (self.in_a_row >= FAILURES)


TestTold = Told.TestCase
TestTold.settings = settings(max_examples=60, deadline=None)


@given(st.integers(1, 20))
def test_the_limit_is_the_one_declared(failures: int) -> None:
    breaker = Breaker(failures, SECONDS, SetClock())
    told = []
    for _ in range(failures):
        told.append(breaker.open)
        breaker.failed()
    assert told == [False] * failures
    assert breaker.open
