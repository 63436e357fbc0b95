"""Let the real loop heal once, on a real Dagster daemon over a fresh home, and say how long it took. Never helps it.

Run by heal_cycle.py: `heal_loop.py <home> <files> <snapshot> <rows> <seed>`. The drifted files are left in `files` too,
and the home as it was just before they landed in `snapshot`, for the bare script to begin from.
"""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fresh_process import say
from loop_timeline import runs_since, spent

from selfheal_assets.core.incident import OutcomeStatus, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.operations.dagster_processes import running_dagster
from selfheal_assets.operations.demo import PHASES
from selfheal_assets.operations.home import initialise
from selfheal_assets.operations.models import model_named
from selfheal_assets.sensors.runs import active_run
from selfheal_assets.simulator.landing import simulate
from selfheal_assets.simulator.payments import PaymentsWorld
from selfheal_assets.stages.champion import CHAMPION
from selfheal_assets.wiring import Services

MODEL = "payments"
BOOTSTRAP = PHASES[0]
HARM = "harmful_shift"
GIVE_UP_SECONDS = 300.0
LEDGER_POLL_SECONDS = 0.25
SENSOR_LOOP_SECONDS = 5.0
"""Of Dagster's daemon. Files land at a random moment of it, as they do in life."""
NOT_COPIED = ("dagster", "logs", "landing", ".running.lock")


def main(home: Path, files: Path, snapshot: Path, rows: int, seed: int) -> None:
    services = initialise(home)
    spec = model_named(services, MODEL)
    world, landing = PaymentsWorld(seed=seed), services.batches.landing(MODEL)
    plan = [(len(BOOTSTRAP.plan) + place, HARM) for place in range(spec.drift.persistence_k)]
    for _ in simulate(world, plan, rows, files):
        pass
    with running_dagster(home, None):
        for _ in simulate(world, BOOTSTRAP.plan, rows, landing, usual=BOOTSTRAP.usual):
            pass
        _wait_until(lambda: _at_rest(services, spec, champions=1), "the bootstrap")
        shutil.copytree(home, snapshot, ignore=shutil.ignore_patterns(*NOT_COPIED))
        time.sleep(random.uniform(0.0, SENSOR_LOOP_SECONDS))
        begun = _land(files, landing)
        moved = _alias_moved(services, spec)
        _wait_until(lambda: _at_rest(services, spec, champions=2), "the healing")
        _report(services, spec, begun, moved)


def _land(files: Path, landing: Path) -> float:
    """Rename copies of the files into landing; the moment before the first was there."""
    aside = landing.parent / "aside"
    shutil.copytree(files, aside)
    # copytree keeps the times of the files: landed is now.
    for file in aside.iterdir():
        os.utime(file)
    begun = time.time()
    for file in sorted(aside.iterdir()):
        file.rename(landing / file.name)
    return begun


def _wait_until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} must end within {GIVE_UP_SECONDS:.0f} s; it did not. See the home's logs.")
        time.sleep(LEDGER_POLL_SECONDS)


def _promotions(services: Services, spec: ModelSpec) -> list[Record]:
    """Newest first. A refused candidate ends the benchmark: there is no healing to time."""
    ended = services.ledger.newest(spec.name, RecordKind.OUTCOME, limit=10)
    promoted = [record for record in ended if record.status == OutcomeStatus.PROMOTED]
    # That nothing was found to reinstate is no failure: a retraining follows.
    none_fits = [record for record in ended if record.payload.get("result") == Result.NONE_FITS]
    wrong = [record for record in ended if record not in (*promoted, *none_fits)]
    if wrong:
        raise RuntimeError(f"every retraining must be promoted; received {wrong[0].status}: {wrong[0].payload}")
    return promoted


def _at_rest(services: Services, spec: ModelSpec, *, champions: int) -> bool:
    from dagster import DagsterInstance

    if len(_promotions(services, spec)) < champions or services.ledger.open_batches(spec.name, limit=1):
        return False
    jobs = [f"{spec.name}_{name}" for name in ("ingest", "retrain")]
    with DagsterInstance.get() as instance:
        return active_run(instance, jobs) is None


def _alias_moved(services: Services, spec: ModelSpec) -> float:
    """When the registry was first seen with another champion."""
    before = services.registry.by_alias(spec.name, CHAMPION)
    assert before is not None

    def moved() -> bool:
        _promotions(services, spec)
        now = services.registry.by_alias(spec.name, CHAMPION)
        return now is not None and now.version != before.version

    _wait_until(moved, "the healing")
    return time.time()


def _report(services: Services, spec: ModelSpec, begun: float, seen: float) -> None:
    from dagster import DagsterInstance

    with DagsterInstance.get() as instance:
        runs = runs_since(instance, begun)
    finished = max(last for run in runs for name, (_, last) in run.steps.items() if name == "champion_model")
    # The registry is looked at four times a second; the step that moved the alias ended at this moment at the latest.
    moved = min(seen, finished)
    closed = _promotions(services, spec)[0]
    decided = services.ledger.newest(spec.name, RecordKind.DECISION, subject=closed.subject)[0]
    say(
        seconds=moved - begun,
        decided_after=decided.recorded_at.timestamp() - begun,
        closed_after=closed.recorded_at.timestamp() - begun,
        runs=[run.job for run in runs],
        spent=spent(runs, begun, moved),
        proof=_proof(services, spec, closed),
    )


def _proof(services: Services, spec: ModelSpec, closed: Record) -> dict[str, Any]:
    """What shows that both sides did the same work."""
    tuned = services.batches.read_document(spec.name, f"tuned-{closed.subject}") or {}
    judged = services.batches.read_document(spec.name, f"validation-{closed.subject}") or {}
    version = services.registry.by_alias(spec.name, CHAMPION)
    return {
        "data_hash": version.tags["data_hash"] if version else None,
        "trials": [[trial["state"], trial["score"]] for trial in tuned["trials"]],
        "window": tuned["window"],
        "metric": judged["metric"],
        "verdicts": [gate["verdict"] for gate in judged["gates"]],
    }


def _end(*_: object) -> None:
    """Asked to end, end Dagster too; asked again, go on with that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    home, files, snapshot = map(Path, sys.argv[1:4])
    main(home, files, snapshot, int(sys.argv[4]), int(sys.argv[5]))
