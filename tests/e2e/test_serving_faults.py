"""A real server under its supervisor, killed and stopped: the sensor sees it, the healer has it restarted."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from served import wait_for

from selfheal_assets import supervision
from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.causes import Cause
from selfheal_assets.core.incident import Incident, IncidentState
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.operations.home import initialise
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.operations.replay import replay
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.server_files import running, servers_folder
from selfheal_assets.simulator.landing import simulate
from selfheal_assets.simulator.payments import PaymentsWorld
from selfheal_assets.wiring import Services

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
MODEL = "payments"
PROGRAM = """
import sys
from pathlib import Path
from selfheal_assets.operations.supervisor import supervise
command = [sys.executable, "-m", "selfheal_assets.serving", "--port=0", "--"]
supervise(Path(sys.argv[1]), ["payments"], lambda model: [*command, model])
"""


def small(spec: ModelSpec) -> ModelSpec:
    training = replace(spec.training, trials=2, windows=(2,), min_rows=600, max_boost_rounds=40)
    gate = replace(spec.gate, metric_floor=0.6, margin=0.1, max_slice_drop=0.5, max_calibration_error=0.3)
    serving = replace(spec.serving, window_seconds=15.0)
    return replace(spec, training=training, gate=gate, serving=serving)


SPEC = small(load_spec(PROJECT / MODELS / MODEL / "defs.yaml"))


@contextmanager
def supervised(home: Path) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {**os.environ, "SELFHEAL_HOME": str(home), "PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(home)], env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def incidents(services: Services) -> list[Incident]:
    """The serving faults, in the order of opening."""
    found = services.ledger.after(MODEL, RecordKind.INCIDENT, 0, 1_000)
    last = {record.subject: Incident.from_record(record) for record in found}
    return [one for one in last.values() if one.cause is Cause.SERVING_FAULT]


def ticking(loop: InProcessLoop, happened: Callable[[], bool], seconds: float) -> None:
    """Tick as the daemon does until it has happened."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, loop.ticks[-4:]
        loop.tick("serving_sensor")
        loop.tick("drift_sensor")
        time.sleep(1.0)


def test_a_server_that_is_killed_and_one_that_hangs_are_healed(home: Path) -> None:
    services = initialise(home)
    list(simulate(PaymentsWorld(seed=3), [(0, "healthy"), (1, "healthy")], 900, services.batches.landing(MODEL)))
    with dg.DagsterInstance.get() as instance:
        loop = InProcessLoop(services, SPEC, instance)
        loop.settle()
        with supervised(home):
            pids = [one.pid for one in _served(services, loop)]
            for number, how in enumerate((signal.SIGKILL, signal.SIGSTOP), start=1):
                os.kill(pids[-1], how)
                ticking(loop, lambda number=number: _resolved(services, number), 120.0)
                pids += [one.pid for one in _served(services, loop)]
                assert pids[-1] not in pids[:-1], how.name
        assert supervision.requests(home, MODEL) == []
        wait_for(lambda: not running(servers_folder(home, MODEL)))
        assert [len(one.tried) for one in incidents(services)] == [1, 1]
        again = replay(services.ledger, [SPEC])
        assert (again.decisions, again.differences) == (again.identical, [])


def _resolved(services: Services, number: int) -> bool:
    found = incidents(services)
    return len(found) == number and found[-1].state is IncidentState.RESOLVED


def _served(services: Services, loop: InProcessLoop) -> list[object]:
    """The servers, once one is ready and the sensor has seen that it is well."""
    folder = servers_folder(services.home, MODEL)

    def well() -> bool:
        status = services.serving.status(MODEL)
        return bool(status.servers) and all(one.ready for one in status.servers)

    ticking(loop, well, 120.0)
    return list(running(folder))
