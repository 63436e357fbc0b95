"""Play the Elec2 stream through the loop, and fixed schedules on what it left: weeks in, outcomes out. Never prints.

Every policy is judged on the same weeks, each before it is learned from, by ROC AUC. The fixed schedules use the loop's
own feature frames and trainer, with the parameters that Optuna found for the first champion; they learn from all
labelled rows of the window, because no gate holds any out.
"""

import importlib.util
import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.core.causes import Action, Cause
from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.policy import DecisionStatus
from selfheal_assets.core.record import RecordKind
from selfheal_assets.core.statistics.metrics import metric
from selfheal_assets.ports import LabelledRows, Model, TunedParameters
from selfheal_assets.wiring import Services

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from dagster import DagsterInstance

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "electricity"
MODEL = "electricity"
SCHEDULES = {"retrain every week": 1, "retrain every 4 weeks": 4}
EVERYTHING = 100_000


class DataClock:
    """A clock in the data's own time, so that a cooldown of a week is a week of data. Implements `ports.Clock`."""

    def __init__(self) -> None:
        self._now = datetime(1970, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def set(self, now: datetime) -> None:
        self._now = now


@dataclass(frozen=True, kw_only=True)
class Played:
    """What is left after the stream went through the loop."""

    services: Services
    spec: ModelSpec
    batch_ids: Sequence[str]
    """Every week that landed, oldest first."""
    seconds: Mapping[str, float]
    """Wall time by step, and that of Dagster and the sensors around the steps."""

    def judged(self) -> list[int]:
        """The weeks that a champion scored on their arrival."""
        has = self.services.batches.has
        return [week for week, batch_id in enumerate(self.batch_ids) if has(MODEL, "scores", batch_id)]

    def frame(self, stage: str, week: int) -> "pd.DataFrame":
        return self.services.batches.read(MODEL, stage, self.batch_ids[week])


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One policy over the judged weeks."""

    name: str
    retrains: int
    """Models trained after the first one, refused ones included."""
    auc: Sequence[float]
    accuracy: Sequence[float]


@contextmanager
def overlay() -> Iterator[None]:
    """Declare the example beside the project's own models; the environment is put back afterwards."""
    names = ("SELFHEAL_OVERLAYS", "SELFHEAL_HOME", "DAGSTER_HOME")
    before = {name: os.environ.get(name) for name in names}
    os.environ["SELFHEAL_OVERLAYS"] = str(EXAMPLE)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def weekly_batches(csv: Path, count: int | None) -> "list[tuple[str, pd.DataFrame]]":
    """File name and rows of the first `count` weeks, by the example's own cutter."""
    found = importlib.util.spec_from_file_location("cut_batches", EXAMPLE / "cut_batches.py")
    if found is None or found.loader is None:
        raise SpecError(f"The example must have its cutter; received none in {EXAMPLE}. Restore the folder.")
    cutter = importlib.util.module_from_spec(found)
    found.loader.exec_module(cutter)
    return list(itertools.islice(cutter.batches(csv), count))


def play(weeks: "Sequence[tuple[str, pd.DataFrame]]", home: Path, *, backlog: int = 1) -> Iterator[Played]:
    """Land a week, let the sensors do all the rest, and go on; yields what stands each time they come to rest.

    The first `backlog` weeks land together and are drained in one run.
    """
    import dagster as dg

    from selfheal_assets.operations.home import initialise
    from selfheal_assets.operations.in_process import InProcessLoop
    from selfheal_assets.operations.models import model_named

    clock, seconds = DataClock(), Counter[str]()
    services = Services(home, initialise(home).roots, clock)
    spec = model_named(services, MODEL)
    with (
        (home / "dagster.log").open("a", encoding="utf-8") as log,
        dg.DagsterInstance.from_config(str(home / "dagster")) as instance,
    ):
        loop = InProcessLoop(services, spec, instance)
        for landing in (weeks[:backlog], *([week] for week in weeks[backlog:])):
            _land(services, spec, clock, landing)
            runs, begun = list[str](), time.perf_counter()
            with redirect_stderr(log):
                loop.settle(runs.append)
            _add_seconds(seconds, instance, runs, time.perf_counter() - begun)
            registered = services.ledger.newest(MODEL, RecordKind.BATCH_REGISTERED, limit=EVERYTHING)
            ids = [record.subject for record in sorted(registered, key=lambda record: record.event_time)]
            yield Played(services=services, spec=spec, batch_ids=ids, seconds=seconds)


def _land(services: Services, spec: ModelSpec, clock: DataClock, weeks: "Sequence[tuple[str, pd.DataFrame]]") -> None:
    from selfheal_assets.simulator.landing import drop

    for name, rows in weeks:
        clock.set(rows[spec.data.event_timestamp].max().to_pydatetime())
        drop(rows, services.batches.landing(MODEL), name)


def _add_seconds(seconds: Counter[str], instance: "DagsterInstance", runs: Sequence[str], wall: float) -> None:
    inside = 0.0
    for run in runs:
        for step in instance.get_run_step_stats(run):
            if step.start_time and step.end_time:
                seconds[step.step_key.removeprefix(f"{MODEL}__")] += step.end_time - step.start_time
                inside += step.end_time - step.start_time
    seconds["Dagster and sensors, around the steps"] += wall - inside


def retrainings(played: Played) -> "list[tuple[Cause, str]]":
    """Cause and outcome of every retraining the loop decided on after its first model, oldest first."""
    ledger = played.services.ledger
    decisions = ledger.newest(MODEL, RecordKind.DECISION, status=DecisionStatus.DECIDED, limit=EVERYTHING)
    healed = [d for d in reversed(decisions) if d.payload["action"] == Action.RETRAIN]
    healed = [d for d in healed if d.payload["cause"] != Cause.NO_CHAMPION]
    ended = ledger.current(MODEL, RecordKind.OUTCOME, [d.subject for d in healed])
    return [
        (Cause(d.payload["cause"]), ended[d.subject].status if d.subject in ended else "UNFINISHED") for d in healed
    ]


def compare(played: Played) -> list[Outcome]:
    """The loop and the fixed schedules on the judged weeks, never-retrain first."""
    from selfheal_assets.operations.story import champions

    judged, services, spec = played.judged(), played.services, played.spec
    if not judged:
        raise SpecError(
            f"The stream must be long enough for a champion; received {len(played.batch_ids)} weeks. Play more of it."
        )
    first = champions(services, spec)[0]
    version = next(v for v in services.registry.versions(MODEL) if v.version == first.version)
    document = services.batches.read_document(MODEL, f"tuned-{first.decision_id}") or {}
    tuned = replace(TunedParameters(**document), window=max(spec.training.windows))
    frozen = services.registry.load(version)
    never = _outcome("never retrain", 0, played, [_score(played, frozen, week) for week in judged])
    served = [played.frame("scores", week)["score"].to_numpy() for week in judged]
    loop = _outcome("selfheal", len(retrainings(played)), played, served)
    scheduled = [_scheduled(name, every, played, tuned, frozen) for name, every in SCHEDULES.items()]
    return [never, *scheduled, loop]


def _scheduled(name: str, every: int, played: Played, tuned: TunedParameters, first: Model) -> Outcome:
    """Fit again each `every` weeks, from the first judged week on, on the newest `tuned.window` weeks before it."""
    scores, judged, model, fits = list[Any](), played.judged(), first, 0
    for position, week in enumerate(judged):
        if position % every == 0 and position:
            rows = _labelled(played, range(max(0, week - tuned.window), week))
            model = played.services.trainer.train(played.spec, rows, tuned)
            fits += 1
        scores.append(_score(played, model, week))
    return _outcome(name, fits, played, scores)


def _labelled(played: Played, weeks: Sequence[int]) -> LabelledRows:
    import pandas as pd

    from selfheal_assets.stages.training_frame import BATCH, SPLIT, TRAIN, labelled

    frames = [played.frame("features", week).assign(**{BATCH: played.batch_ids[week], SPLIT: TRAIN}) for week in weeks]
    return labelled(played.services, played.spec, pd.concat(frames, ignore_index=True), TRAIN)


def _score(played: Played, model: Model, week: int) -> "np.ndarray":
    return model.score(played.frame("features", week)[played.services.features.names(played.spec)])


def _outcome(name: str, retrains: int, played: Played, scores: "Sequence[np.ndarray]") -> Outcome:
    labels = [played.frame("features", week)[played.spec.data.label].to_numpy(dtype=float) for week in played.judged()]
    pairs = list(zip(labels, scores, strict=True))
    return Outcome(
        name=name,
        retrains=retrains,
        auc=[metric("roc_auc", label, score) for label, score in pairs],
        accuracy=[float(((score > 0.5) == label).mean()) for label, score in pairs],
    )


def naive_accuracy(played: Played) -> float:
    """Share of the judged half hours whose label is that of the half hour before."""
    import pandas as pd

    weeks = range(len(played.batch_ids))
    stream = pd.concat([played.frame("clean", week)[played.spec.data.label] for week in weeks], keys=weeks)
    return float((stream == stream.shift(1))[played.judged()].mean())
