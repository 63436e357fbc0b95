"""The supervisor of servers, with a small process in the place of a server: killed, stopped, asked to restart."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from served import wait_for

from selfheal_assets import supervision
from selfheal_assets.adapters.clocks import SystemClock
from selfheal_assets.adapters.local_servers import LocalServers
from selfheal_assets.core.errors import ServingError
from selfheal_assets.operations import supervisor
from selfheal_assets.operations.supervisor import Supervised, server_command
from selfheal_assets.ports import RestartState
from selfheal_assets.project import PROJECT
from selfheal_assets.server_files import is_alive, model_root

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
]


class Kept(Supervised):
    """A supervised server whose process can be looked at."""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def killed(self, how: signal.Signals = signal.SIGKILL) -> int:
        """The pid of the process that is dead now."""
        assert self._process is not None
        pid = self._process.pid
        os.kill(pid, how)
        if how is signal.SIGKILL:
            self._process.wait(10)
        return pid


@contextmanager
def kept(home: Path, command: list[str] = SLEEPS) -> Iterator[Kept]:
    one = Kept(home, "m", lambda _: command)
    try:
        yield one
    finally:
        one.end()
        one.ended(0.3)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def state(home: Path) -> supervision.Supervision:
    found = supervision.told(home, "m")
    assert found is not None
    return found


def test_a_server_that_is_killed_is_started_again_and_its_death_told(place: Path) -> None:
    with kept(place) as one:
        one.look(0.0)
        first = one.killed()
        one.look(1.0)
        assert state(place).child is None
        one.look(1.4)
        assert state(place).child is None, "not at once"
        one.look(1.6)
        assert one.pid != first
        assert state(place).child == one.pid
        (death,) = state(place).deaths
        assert (death.pid, death.words) == (first, "it was ended by SIGKILL")
        assert LocalServers(place, SystemClock()).status("m").deaths == (death,)


def test_the_wait_grows_to_a_bound_and_a_server_that_lived_begins_anew(place: Path) -> None:
    with kept(place) as one:
        now, waits = 0.0, list[float]()
        one.look(now)
        for _ in range(9):
            one.killed()
            now += 1.0
            one.look(now)
            died = now
            while state(place).child is None:
                now += 0.25
                one.look(now)
            waits.append(now - died)
        assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
        one.killed()
        one.look(now + 61.0)
        one.look(now + 61.5)
        assert state(place).child == one.pid
        assert len(state(place).deaths) == supervision.DEATHS_KEPT


def ask(home: Path, decision: str, *pids: int) -> RestartState:
    return LocalServers(home, SystemClock()).restart("m", decision, pids).state


def test_a_restart_is_carried_out_once_and_answered(place: Path) -> None:
    with kept(place) as one:
        one.look(0.0)
        first = one.pid
        assert ask(place, "d1", first) is RestartState.UNDER_WAY
        one.look(1.0)
        assert ask(place, "d1", first) is RestartState.UNDER_WAY
        wait_for(lambda: not _looked(one, 1.5, first))
        second = one.pid
        assert second != first
        assert ask(place, "d1", first) is RestartState.DONE
        assert state(place).deaths == (), "what was asked for is no death"
        for decision, pids in (("d1", [first]), ("d2", [first])):
            ask(place, decision, *pids)
            one.look(3.0)
            assert one.pid == second, decision
        assert supervision.answer_to(place, "m", "d2") == f"it had been replaced already, by process {second}"
        ask(place, "d3")
        one.look(4.0)
        wait_for(lambda: not _looked(one, 4.5, second))
        assert supervision.requests(place, "m") == []


def _looked(one: Kept, now: float, pid: int) -> bool:
    """Whether it is still that process, or none, after a look."""
    one.look(now)
    return one._process is None or one.pid == pid


@pytest.mark.parametrize("how", ["stopped", "deaf"])
def test_a_process_that_does_not_end_is_killed_after_a_while(place: Path, how: str) -> None:
    with kept(place, SLEEPS if how == "stopped" else STUBBORN) as one:
        one.look(0.0)
        first = one.pid
        if how == "stopped":
            one.killed(signal.SIGSTOP)
        else:
            wait_for(lambda: "deaf" in (place / "logs" / "server-m.log").read_text(encoding="utf-8"))
        ask(place, "d1", first)
        one.look(1.0)
        one.look(1.0 + supervisor.GRACE_SECONDS)
        assert is_alive(first)
        one.look(1.1 + supervisor.GRACE_SECONDS)
        wait_for(lambda: not _looked(one, 2.0 + supervisor.GRACE_SECONDS, first))
        assert ask(place, "d1", first) is RestartState.DONE


def test_one_that_waits_to_be_started_is_started_at_once_when_asked(place: Path) -> None:
    with kept(place) as one:
        one.look(0.0)
        for now in (1.0, 3.0, 6.0):
            one.killed()
            one.look(now)
            one.look(now + 2.0)
        one.killed()
        one.look(8.5)
        ask(place, "d1")
        one.look(8.6)
        one.look(8.7)
        assert state(place).child == one.pid
        assert supervision.answer_to(place, "m", "d1") == f"the server was restarted as process {one.pid}"


def test_without_a_living_supervisor_nothing_is_asked(place: Path) -> None:
    assert ask(place, "d1") is RestartState.IMPOSSIBLE
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    supervision.tell(place, "m", supervision.Supervision(pid=gone.pid, since=datetime.now(UTC)))
    assert ask(place, "d1") is RestartState.IMPOSSIBLE
    assert supervision.requests(place, "m") == []
    (model_root(place, "m") / supervision.STATE).write_text("[", encoding="utf-8")
    assert supervision.told(place, "m") is None


def test_files_that_nobody_can_read_are_passed_over_and_a_home_that_takes_none_is_told(place: Path) -> None:
    root = model_root(place, "m")
    root.mkdir(parents=True)
    for number, text in enumerate(["", "[]", '{"pids": "x"}', '{"pids": [1, "2"]}']):
        (root / f"restart-{number}.json").write_text(text, encoding="utf-8")
    assert supervision.requests(place, "m") == []
    (place / "serving" / "full").write_text("a file where a folder should be", encoding="utf-8")
    with pytest.raises(ServingError, match=r"The home must take restart-d1\.json"):
        supervision.ask(place, "full", supervision.Request(decision_id="d1", pids=()))


def test_the_server_is_started_as_a_process_of_its_own_on_127_0_0_1() -> None:
    command = server_command("payments")
    assert command[1:] == ["-m", "selfheal_assets.serving", "--", "payments"]
    assert not [part for part in command if "host" in part], "127.0.0.1 is its default"


PROGRAM = """
import sys
from pathlib import Path
from selfheal_assets.operations.supervisor import supervise
supervise(Path(sys.argv[1]), ["m", "n"], lambda model: [sys.executable, "-c", "import time; time.sleep(600)"])
"""


def started(home: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(home)], env=environment)


def children(home: Path) -> list[int]:
    found = [supervision.told(home, model) for model in ("m", "n")]
    return [one.child for one in found if one is not None and one.child is not None]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_servers_end_with_their_supervisor_however_that_ends(place: Path, how: signal.Signals) -> None:
    process = started(place)
    try:
        wait_for(lambda: len(children(place)) == 2)
        pids = children(place)
        assert all(is_alive(pid) for pid in pids)
        process.send_signal(how)
        assert process.wait(20) == (0 if how is signal.SIGTERM else -signal.SIGKILL)
        wait_for(lambda: not any(_runs(pid) for pid in pids))
        assert supervision.told(place, "m") is None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


def _runs(pid: int) -> bool:
    """Whether it does; a child of the dead that nobody has waited for does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_killed_server_is_replaced_by_the_supervisor_in_its_own_time(place: Path) -> None:
    process = started(place)
    try:
        wait_for(lambda: len(children(place)) == 2)
        first, other = children(place)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: state(place).child not in (None, first))
        assert children(place)[1] == other, "each is on its own"
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_the_looks_go_on_for_the_others_when_one_fails(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: float) -> None:
        raise ServingError("The home must take supervisor.json; received no space left.")

    one = Supervised(place, "m")
    monkeypatch.setattr(one, "look", full)
    look: Callable[[Supervised], None] = supervisor._looked_at
    look(one)
    assert "m: ServingError: The home must take supervisor.json" in capsys.readouterr().err
