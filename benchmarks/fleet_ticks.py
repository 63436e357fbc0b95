"""Tick the sensors of the code location as its server does for Dagster's daemon, on one core; seconds out.

Run by fleet.py, with the number of rounds and a beginning of the sensors' names: `python fleet_ticks.py 3 fleet_`.
"""

import os
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any

from fresh_process import peak_mb, say, wait_for_turn

if TYPE_CHECKING:
    import dagster as dg

LOCATION = "selfheal"
FROM_HEAD = ("_drift_sensor", "_quality_sensor")
"""Their cursors are places in the ledger; an idle model's have reached its end."""


class Daemon:
    """What Dagster's daemon and the code server do with every sensor: tick it, and keep its cursor."""

    def __init__(self, instance: "dg.DagsterInstance", beginning: str) -> None:
        from dagster._core.remote_origin import InProcessCodeLocationOrigin
        from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

        from selfheal_assets.definitions import defs
        from selfheal_assets.wiring import Services

        target = LoadableTargetOrigin(module_name="selfheal_assets.definitions")
        self._origin = InProcessCodeLocationOrigin(target, location_name=LOCATION)
        self._instance, self._reference = instance, instance.get_ref()
        self.repository = defs().get_repository_def()
        self.names = [each.name for each in self.repository.sensor_defs if each.name.startswith(beginning)]
        head = str(Services.from_environment().ledger.head().sequence)
        self._cursors: dict[str, str | None] = {name: head for name in self.names if name.endswith(FROM_HEAD)}

    def meet(self) -> None:
        """Write down what the daemon knows of sensors that it evaluates: their state, and a tick of each."""
        from dagster._core.definitions.run_request import InstigatorType
        from dagster._core.remote_origin import RemoteInstigatorOrigin, RemoteRepositoryOrigin
        from dagster._core.scheduler.instigation import (
            InstigatorState,
            InstigatorStatus,
            SensorInstigatorData,
            TickData,
            TickStatus,
        )

        kind = InstigatorType.SENSOR
        for name in self.names:
            origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(self._origin, self.repository.name), name)
            data = SensorInstigatorData(min_interval=1)
            selector = origin.get_selector().get_id()
            if self._instance.get_instigator_state(origin.get_id(), selector) is None:
                state = InstigatorState(origin, kind, InstigatorStatus.DECLARED_IN_CODE, data)
                self._instance.add_instigator_state(state)
            now = datetime.now(UTC).timestamp()
            tick = TickData(origin.get_id(), name, kind, TickStatus.SKIPPED, now, selector_id=selector)
            self._instance.create_tick(tick)

    def tick(self, name: str, turn: int) -> None:
        from dagster._core.errors import DagsterError
        from dagster._grpc.impl import get_external_sensor_execution

        log_key = [self.repository.name, name, str(turn)]
        done: Any = get_external_sensor_execution(
            self.repository,
            self._origin,
            self._reference,
            name,
            last_tick_completion_timestamp=None,
            last_run_key=None,
            cursor=self._cursors.get(name),
            log_key=log_key,
            last_sensor_start_timestamp=None,
        )
        if hasattr(done, "error"):
            raise DagsterError(f"{name} failed: {done.error.to_string()}")
        self._cursors[name] = done.cursor

    def round(self, turn: int) -> dict[str, Any]:
        """Every sensor once."""
        kinds = defaultdict[str, list[float]](list)
        wall, cpu = time.perf_counter(), time.process_time()
        for name in self.names:
            before = time.process_time()
            self.tick(name, turn)
            kinds[_kind(name)].append(1e3 * (time.process_time() - before))
        return {
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "sensors": len(self.names),
            "cpu_ms": {kind: median(values) for kind, values in kinds.items()},
            "peak_mb": peak_mb(),
        }


def _kind(name: str) -> str:
    """`fleet_0001_drift_sensor` -> `drift_sensor`."""
    return name.split("_", 2)[-1] if name.startswith("fleet_") else name


def main() -> None:
    rounds, beginning = int(sys.argv[1]), sys.argv[2]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        daemon = Daemon(instance, beginning)
        for turn in range(rounds):
            wait_for_turn()
            daemon.meet()
            say(**daemon.round(turn))


if __name__ == "__main__":
    main()
