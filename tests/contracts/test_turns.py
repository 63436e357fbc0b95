"""One holder of a name at a time, over files as over PostgreSQL, and never one that is dead."""

import multiprocessing
import signal
import threading
import time
from pathlib import Path

import pytest
from servers import CANARY, Postgres

from selfheal_assets.adapters.turns import Alone, DatabaseTurns, in_turn
from selfheal_assets.core.errors import BusyError


@pytest.fixture(params=["files", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "files":
        return str(tmp_path / "turns")
    server: Postgres = request.getfixturevalue("postgres")
    return server.url("turns")


def opened(place: str) -> Alone:
    return DatabaseTurns(place) if "://" in place else in_turn(Path(place))


def hold(place: str, held: "multiprocessing.synchronize.Event") -> None:
    with opened(place)("a", 5):
        held.set()
        time.sleep(60)


def test_one_at_a_time(place: str) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with opened(place)("a", 20):
                inside += 1
                most = max(most, inside)
                time.sleep(0.002)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_other_names_do_not_wait(place: str) -> None:
    with opened(place)("a", 1), opened(place)("b", 1):
        pass


def test_who_waits_in_vain_is_told(place: str) -> None:
    with (
        opened(place)("a", 1),
        pytest.raises(BusyError, match=r"may hold 'a'; received no turn in 0\.2 s") as told,
        opened(place)("a", 0.2),
    ):
        pass
    assert CANARY not in str(told.value)
    with opened(place)("a", 0.2):
        pass


def test_an_error_inside_comes_out_and_lets_go(place: str) -> None:
    with pytest.raises(KeyError), opened(place)("a", 1):
        raise KeyError("x")
    with opened(place)("a", 1):
        pass


def test_a_holder_that_was_killed_holds_nothing(place: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    held = spawn.Event()
    holder = spawn.Process(target=hold, args=(place, held))
    holder.start()
    assert held.wait(30)
    assert holder.pid is not None
    holder.kill()
    holder.join(10)
    assert holder.exitcode == -signal.SIGKILL
    with opened(place)("a", 10):
        pass
