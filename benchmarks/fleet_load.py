"""Say what loading the code location costs a fresh process, part by part. Never measures anything else.

Run by fleet.py, with SELFHEAL_HOME and SELFHEAL_OVERLAYS in the environment.
"""

import time

from fresh_process import peak_mb, say, wait_for_turn


class Parts:
    """Wall and CPU seconds since the part before."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}
        self._before = time.perf_counter(), time.process_time()

    def end(self, name: str) -> None:
        now = time.perf_counter(), time.process_time()
        self.wall[name], self.cpu[name] = (after - before for after, before in zip(now, self._before, strict=True))
        self._before = now


def main() -> None:
    wait_for_turn()
    parts = Parts()
    from selfheal_assets.definitions import defs

    parts.end("imports")
    definitions = defs()
    parts.end("definitions")
    repository = definitions.get_repository_def()
    parts.end("repository")
    # As the code server does, to find every mistake; a run resolves its own job alone.
    repository.load_all_definitions()
    parts.end("jobs")
    loaded_mb = peak_mb()
    from dagster._core.remote_representation.external_data import RepositorySnap
    from dagster._serdes import serialize_value

    snapshot = serialize_value(RepositorySnap.from_def(repository, defer_snapshots=True))
    parts.end("snapshot")
    say(
        wall=parts.wall,
        cpu=parts.cpu,
        loaded_mb=loaded_mb,
        peak_mb=peak_mb(),
        snapshot_mb=len(snapshot) / 1e6,
        sensors=len(list(repository.sensor_defs)),
        jobs=len(repository.get_all_jobs()),
    )


if __name__ == "__main__":
    main()
