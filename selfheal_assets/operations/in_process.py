"""Drive a model's sensors and run what they ask for, here and now. Never starts a daemon: for tests and benchmarks."""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from selfheal_assets.components.self_healing_model import model_definitions
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.wiring import Services, executor, resources

RUN_KEY_TAG, SENSOR_TAG = "dagster/run_key", "dagster/sensor_name"
SENSORS = ("arrivals", "labels", "quality_sensor", "failures", "drift_sensor")
MAX_ROUNDS = 50
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""The console is the caller's; what a run did stands in its event log."""


class InProcessLoop:
    """What the Dagster daemon does with the sensors of one model, a tick at a time."""

    def __init__(self, services: Services, spec: ModelSpec, instance: dg.DagsterInstance) -> None:
        self.services = services
        self.spec = spec
        self.instance = instance
        definitions = dg.Definitions.merge(
            model_definitions(spec), dg.Definitions(resources=resources(services), executor=executor())
        )
        self._repository = definitions.get_repository_def()
        self._sensors = SENSORS if spec.rollout.over == "none" else (*SENSORS, "rollout_sensor")
        self._cursors: dict[str, str | None] = {}
        self.ticks: list[str] = []
        """What each tick said, for people and tests."""

    def tick(self, sensor: str) -> list[str]:
        """Evaluate `<model>_<sensor>` once and execute the runs it asks for that were not run before; their ids."""
        name = f"{self.spec.name}_{sensor}"
        definition = self._repository.get_sensor_def(name)
        sensor_context = dg.build_sensor_context(
            instance=self.instance,
            # With it Dagster counts the partitions that the same tick asks to be added as present.
            instance_ref=self.instance.get_ref(),
            cursor=self._cursors.get(name),
            repository_def=self._repository,
            sensor_name=name,
            resources={"selfheal": self.services},
        )
        with sensor_context as context:
            data = definition.evaluate_tick(context)
        self._cursors[name] = data.cursor or self._cursors.get(name)
        for event in data.asset_events:
            self.instance.report_runless_asset_event(event)
        for request in data.dynamic_partitions_requests or []:
            self._change_partitions(request)
        self.ticks.append(f"{name}: {data.skip_message or f'requested {len(data.run_requests or [])} runs'}")
        return [
            self._execute(name, request.job_name or definition.job.name, request)
            for request in data.run_requests or []
            if not self._known(name, request)
        ]

    def settle(self, after_run: Callable[[str], None] = lambda _: None) -> None:
        """Tick every sensor until none of them asks for anything."""
        for _ in range(MAX_ROUNDS):
            launched = [run for sensor in self._sensors for run in self.tick(sensor)]
            for run_id in launched:
                after_run(run_id)
            if not launched:
                return
        raise RuntimeError(
            f"The sensors must come to rest within {MAX_ROUNDS} rounds; the last said {self.ticks[-3:]}."
        )

    def _change_partitions(self, request: dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest) -> None:
        name, keys = request.partitions_def_name, list(request.partition_keys)
        if isinstance(request, dg.AddDynamicPartitionsRequest):
            self.instance.add_dynamic_partitions(name, keys)
        else:
            for key in keys:
                self.instance.delete_dynamic_partition(name, key)

    def _known(self, sensor: str, request: dg.RunRequest) -> bool:
        wanted = {RUN_KEY_TAG: str(request.run_key), SENSOR_TAG: sensor}
        return self.instance.get_runs_count(dg.RunsFilter(tags=wanted)) > 0

    def _execute(self, sensor: str, job_name: str, request: dg.RunRequest) -> str:
        tags = {**request.tags, RUN_KEY_TAG: str(request.run_key), SENSOR_TAG: sensor}
        result = self._repository.get_job(job_name).execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key,
            tags=tags,
            run_config={**QUIET, **request.run_config},
            raise_on_error=False,
        )
        return result.run_id

    def run(
        self,
        job: str,
        *,
        partition_key: str | None = None,
        run_config: Mapping[str, Any] | None = None,
        tags: dict[str, str] | None = None,
    ) -> bool:
        """Execute the model's job `<model>_<job>` by hand; True when it succeeded."""
        result = self._repository.get_job(f"{self.spec.name}_{job}").execute_in_process(
            instance=self.instance,
            partition_key=partition_key,
            run_config={**QUIET, **(run_config or {})},
            tags=tags,
            raise_on_error=False,
        )
        return result.success
