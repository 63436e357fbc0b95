"""Inject faults into a running server's world by a plan in time, and write down when. Never heals one."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving_home import MODEL

from selfheal_assets.ports import ModelRegistry
from selfheal_assets.supervision import told

KILLED, STORE_AWAY, REGISTRY_AWAY, RELEASED = "killed", "feature store away", "registry away", "release swapped"
FIRST_KILL, SECOND_KILL, CYCLES_FROM, CYCLES_TO = 0.08, 0.18, 0.35, 0.92
"""Shares of the time. Both kills come early: memory is judged over one long life of a server."""
LONGEST_ABSENCE, ABSENT_SHARE = 20.0, 0.1
CYCLE_SECONDS = 240.0
"""In each: the store away, a release, the registry away, and a release back."""
CHILD_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A fault and when it begins, in seconds from the start."""

    at: float
    kind: str
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Injected:
    """A fault as it was; times in seconds since 1970."""

    kind: str
    began: float
    ended: float
    detail: str = ""
    """The process that was killed, or the version that was released."""


def plan(seconds: float) -> list[Planned]:
    """Faults of a run, in order. The second kill falls into an absence of the registry."""
    absence = min(LONGEST_ABSENCE, ABSENT_SHARE * seconds)
    found = [
        Planned(at=FIRST_KILL * seconds, kind=KILLED),
        Planned(at=SECOND_KILL * seconds, kind=REGISTRY_AWAY, seconds=absence),
        Planned(at=SECOND_KILL * seconds + absence / 4, kind=KILLED),
    ]
    cycles = max(1, round((CYCLES_TO - CYCLES_FROM) * seconds / CYCLE_SECONDS))
    each = (CYCLES_TO - CYCLES_FROM) * seconds / cycles
    for cycle in range(cycles):
        start = CYCLES_FROM * seconds + cycle * each
        found += [
            Planned(at=start, kind=STORE_AWAY, seconds=absence),
            Planned(at=start + 0.40 * each, kind=RELEASED),
            Planned(at=start + 0.55 * each, kind=REGISTRY_AWAY, seconds=absence),
            Planned(at=start + 0.80 * each, kind=RELEASED),
        ]
    return found


class Injector:
    """Faults of one run, over a home with a supervised server and two versions of its model."""

    def __init__(self, home: Path, registry: ModelRegistry, versions: Sequence[str]) -> None:
        self._home, self._registry, self._versions = home, registry, list(versions)
        self._away: list[tuple[float, float, str, Path]] = []
        self.injected: list[Injected] = []

    def run(self, planned: Sequence[Planned], until: float, tell: Callable[[str], None]) -> None:
        """Until the moment, by `time.monotonic`. What is away is back afterwards, whatever happens."""
        began, waiting = time.monotonic(), sorted(planned, key=lambda one: one.at)
        with self._all_back():
            while time.monotonic() < until:
                while waiting and time.monotonic() - began >= waiting[0].at and self._can(waiting[0]):
                    fault = waiting.pop(0)
                    tell(fault.kind)
                    self._inject(fault)
                self._bring_back(time.monotonic())
                time.sleep(0.05)

    def _can(self, fault: Planned) -> bool:
        """On a machine that is late, an alias is moved when the registry is back."""
        return fault.kind != RELEASED or not any(kind == REGISTRY_AWAY for _, _, kind, _ in self._away)

    def _inject(self, fault: Planned) -> None:
        if fault.kind == KILLED:
            pid = self._child()
            self.injected.append(Injected(kind=KILLED, began=time.time(), ended=time.time(), detail=str(pid)))
            os.kill(pid, signal.SIGKILL)
        elif fault.kind == RELEASED:
            old, new = self._versions
            self._versions.reverse()
            began = time.time()
            self._registry.move_alias(MODEL, "champion", new, expected=old)
            self.injected.append(Injected(kind=RELEASED, began=began, ended=time.time(), detail=new))
        else:
            parts = ("feast", "online.db") if fault.kind == STORE_AWAY else ("mlflow", "mlflow.db")
            file = self._home.joinpath(*parts)
            self._away.append((time.monotonic() + fault.seconds, time.time(), fault.kind, file))
            file.rename(_aside(file))

    def _child(self) -> int:
        """The server's process; RuntimeError when the supervisor has none."""
        ends = time.monotonic() + CHILD_SECONDS
        while time.monotonic() < ends:
            supervision = told(self._home, MODEL)
            if supervision is not None and supervision.child is not None:
                return supervision.child
            time.sleep(0.1)
        raise RuntimeError(f"The supervisor must have a server to kill; within {CHILD_SECONDS:.0f} s it had none.")

    def _bring_back(self, now: float) -> None:
        for one in [one for one in self._away if one[0] <= now]:
            self._away.remove(one)
            _, began, kind, file = one
            _aside(file).replace(file)
            self.injected.append(Injected(kind=kind, began=began, ended=time.time()))

    @contextmanager
    def _all_back(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._bring_back(float("inf"))


def _aside(file: Path) -> Path:
    return file.with_name(f"{file.name}.away")
