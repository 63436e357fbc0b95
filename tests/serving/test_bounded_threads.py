"""Few threads for calls that may hang: how many there are, who waits, who is refused at once, how they end."""

import threading
from collections.abc import Iterator
from time import monotonic, sleep

import pytest

from selfheal_assets.serving.bounded_threads import BoundedThreads


def alive() -> int:
    return sum(thread.name == "few" for thread in threading.enumerate())


@pytest.fixture
def few() -> Iterator[BoundedThreads]:
    threads = BoundedThreads(2, "few")
    yield threads
    threads.close()
    assert alive() == 0


def test_calls_in_turn_share_one_thread(few: BoundedThreads) -> None:
    names = set()
    for _ in range(20):
        few.submit(lambda: names.add(threading.get_ident()), monotonic() + 1).result(1)
    assert len(names) == alive() == 1
    assert threading.get_ident() not in names


def test_what_a_call_raises_comes_out_and_the_thread_goes_on(few: BoundedThreads) -> None:
    def fail() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        few.submit(fail, monotonic() + 1).result(1)
    few.submit(lambda: None, monotonic() + 1).result(1)
    assert alive() == 1


def test_a_call_waits_for_a_thread_that_is_at_work(few: BoundedThreads) -> None:
    done = []
    for number in range(6):
        few.submit(lambda number=number: (sleep(0.01), done.append(number)), monotonic() + 1)
    few.submit(lambda: None, monotonic() + 1).result(1)
    sleep(0.02)
    assert sorted(done) == list(range(6))
    assert alive() == 2


def test_when_all_hang_the_next_is_refused_at_once_and_no_thread_is_added(few: BoundedThreads) -> None:
    release = threading.Event()
    hung = [few.submit(lambda: (release.wait(5), None)[1], monotonic() + 0.02) for _ in range(2)]
    began = monotonic()
    with pytest.raises(TimeoutError, match="2 threads"):
        few.submit(lambda: None, began + 0.5)
    assert 0.01 < monotonic() - began < 0.2, "until the calls are past their deadlines, and no longer"
    for _ in range(50):
        began = monotonic()
        with pytest.raises(TimeoutError):
            few.submit(lambda: None, began + 0.5)
        assert monotonic() - began < 0.05
    assert alive() == 2
    release.set()
    for future in hung:
        future.result(1)
    few.submit(lambda: None, monotonic() + 1).result(1)


def test_a_wait_for_a_thread_ends_at_the_deadline(few: BoundedThreads) -> None:
    release = threading.Event()
    for _ in range(2):
        few.submit(lambda: (release.wait(5), None)[1], monotonic() + 5)
    began = monotonic()
    with pytest.raises(TimeoutError):
        few.submit(lambda: None, began + 0.03)
    assert 0.02 < monotonic() - began < 0.2
    release.set()


def test_nothing_begins_after_the_end_and_a_hung_thread_is_not_waited_for() -> None:
    few, release = BoundedThreads(1, "few"), threading.Event()
    hung = few.submit(lambda: (release.wait(5), None)[1], monotonic() + 0.01)
    began = monotonic()
    few.close(seconds=0.05)
    assert monotonic() - began < 0.5
    with pytest.raises(TimeoutError, match="closed"):
        few.submit(lambda: None, monotonic() + 1)
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "few")
    release.set()
    hung.result(1)
    sleep(0.02)
    assert alive() == 0
