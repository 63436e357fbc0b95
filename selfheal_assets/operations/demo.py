"""The demonstration: a scripted world meets a real Dagster instance; what it did is judged. Never helps it heal."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from selfheal_assets.core.causes import ABOUT_THE_METRIC, Cause
from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.operations import story
from selfheal_assets.operations.demo_result import MOVED, NEW_WORLD, Result
from selfheal_assets.operations.models import model_named
from selfheal_assets.operations.teller import Teller
from selfheal_assets.simulator.landing import Dropped, simulate
from selfheal_assets.simulator.late_labels import LateLabels
from selfheal_assets.simulator.payment_draws import WINDOW
from selfheal_assets.simulator.payments import PaymentsWorld, Regime
from selfheal_assets.wiring import Services

MODEL = "payments"
POLL_SECONDS = 0.5
LABELS_LATE = 2


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Batches that land together, and what must be seen before the next ones do."""

    title: str
    plan: Sequence[tuple[int, str]]
    usual: Regime = Regime.HEALTHY
    labels_after: int | None = LABELS_LATE
    """How many batches later the labels land; None: the batches bring them."""
    champion_after: int = 1
    """How many champions must have been promoted when the phase ends."""
    last: bool = False
    """All labels that are still held back land, and the incidents about the metric must have ended."""


PHASES = (
    Phase(
        title="bootstrap: four healthy batches of history, the first model",
        plan=[(i, "healthy") for i in range(4)],
        labels_after=None,
    ),
    Phase(
        title=f"labels come {LABELS_LATE} batches late; a healthy batch, one with bad rows, one in cents, two of a "
        "harmless shift",
        plan=[(4, "healthy"), (5, "bad_rows"), (6, "unit_change"), (7, "benign_shift"), (8, "benign_shift")],
    ),
    Phase(title="the world moves: a harmful shift", plan=[(9, "harmful_shift"), (10, "harmful_shift")]),
    Phase(
        title="healthy batches of the new world, and with them the labels of the first that moved",
        plan=[(11, "healthy"), (12, "healthy")],
        usual=Regime.HARMFUL_SHIFT,
        champion_after=2,
    ),
    Phase(
        title="two more, and the last labels: did it help?",
        plan=[(13, "healthy"), (14, "healthy")],
        usual=Regime.HARMFUL_SHIFT,
        champion_after=2,
        last=True,
    ),
)


BATCHES = sum(len(phase.plan) for phase in PHASES)


@dataclass(kw_only=True)
class Demonstration:
    """What was dropped, and what became of it."""

    services: Services
    spec: ModelSpec
    rows: int
    seed: int
    phase_seconds: float
    begun: float = field(default_factory=time.monotonic)
    epoch: datetime = field(default_factory=lambda: datetime.now(UTC) - BATCHES * WINDOW)
    """Where the event times begin: the last batch ends now, as if the feed were live."""
    dropped: list[Dropped] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)

    def play(self) -> Iterator[str]:
        """Drop the phases one after another; yields a line whenever something happened."""
        world = PaymentsWorld(seed=self.seed)
        folder = self.services.batches.landing(self.spec.name)
        for phase in PHASES:
            yield f"[bold]{phase.title}[/bold]"
            drop = simulate(
                world,
                phase.plan,
                self.rows,
                folder,
                usual=phase.usual,
                epoch=self.epoch,
                labels_after=phase.labels_after,
            )
            for dropped in drop:
                self.dropped.append(dropped)
                moved = phase.usual is not Regime.HEALTHY and dropped.fault == "healthy"
                self.faults[dropped.path.name] = (NEW_WORLD if phase.last else MOVED) if moved else dropped.fault
            if phase.last:
                LateLabels(folder, LABELS_LATE).land(BATCHES + LABELS_LATE)
            yield from self._watch(phase)

    def _watch(self, phase: Phase) -> Iterator[str]:
        deadline = time.monotonic() + self.phase_seconds
        told = Teller(self.services, self.spec)
        while not self._done(phase):
            yield from told.news()
            if time.monotonic() > deadline:
                raise SelfhealError(
                    f"Each phase of the demonstration must end within {self.phase_seconds:.0f} s; received none for "
                    f"{phase.title!r}. See the runs and sensors in the Dagster UI, and `{self.services.home / 'logs'}`."
                )
            time.sleep(POLL_SECONDS)
        yield from told.news()

    def _done(self, phase: Phase) -> bool:
        """Every batch is settled, measured where it can be, its labels joined, and the sensors have looked at it."""
        ledger, name = self.services.ledger, self.spec.name
        if ledger.open_batches(name, limit=1) or self.services.batches.landed(name) or self._labels_wait():
            return False
        batches = story.batches(self.services, self.spec)
        if len(batches) < len(self.dropped) or len(story.champions(self.services, self.spec)) < phase.champion_after:
            return False
        names = {f"payments-{index:04d}.parquet" for index, _ in phase.plan}
        mine = [b for b in batches if b.file_name in names]
        cases = story.case_files(self.services, self.spec)
        told_bad = {b for case in cases if case.incident.cause is Cause.BAD_DATA for b in case.incident.batch_ids}
        healing = [case for case in cases if case.incident.cause in ABOUT_THE_METRIC and not case.incident.ended]
        # Labels that were joined are measured by a run of their own, which may end after the incident has.
        unmeasured = [b for b in mine if b.rows_clean and b.performance not in (Status.CLEAR, Status.RAISED)]
        told = all(b.batch_id in told_bad for b in mine if b.rows_quarantined)
        return told and not (phase.last and (healing or unmeasured))

    def _labels_wait(self) -> bool:
        labels = self.services.labels
        return bool(labels.landed(self.spec.name) or labels.pending(self.spec.name))

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.begun

    def result(self) -> Result:
        batches = story.batches(self.services, self.spec)
        return Result(
            wall_s=round(self.elapsed_s, 1),
            metric=self.spec.performance.metric,
            batches=batches,
            faults=self.faults,
            cases=story.case_files(self.services, self.spec),
            champions=story.champions(self.services, self.spec),
            rows_dropped=sum(dropped.rows for dropped in self.dropped),
        )


def start_demonstration(services: Services, *, rows: int, seed: int, phase_seconds: float) -> Demonstration:
    """The payments model's demonstration, its clock started."""
    return Demonstration(
        services=services, spec=model_named(services, MODEL), rows=rows, seed=seed, phase_seconds=phase_seconds
    )
