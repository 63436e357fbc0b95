"""The demonstration: a scripted world meets a real Dagster instance; what it did is judged. Never helps it heal."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from selfheal_assets.core.causes import ABOUT_THE_METRIC, Cause
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.operations import story
from selfheal_assets.operations.demo_live import Live
from selfheal_assets.operations.demo_phases import BATCHES, LABELS_LATE, PHASES, Phase
from selfheal_assets.operations.demo_result import MOVED, NEW_WORLD, Result
from selfheal_assets.operations.demo_serving import MODEL
from selfheal_assets.operations.demo_watch import Watch
from selfheal_assets.operations.models import model_named
from selfheal_assets.simulator.landing import Dropped, simulate
from selfheal_assets.simulator.late_labels import LateLabels
from selfheal_assets.simulator.payment_draws import WINDOW
from selfheal_assets.simulator.payments import PaymentsWorld, Regime
from selfheal_assets.wiring import Services


@dataclass(kw_only=True)
class Demonstration:
    """What was dropped, and what became of it."""

    services: Services
    spec: ModelSpec
    rows: int
    world: PaymentsWorld
    watch: Watch
    live: Live | None
    """None: only the batches are played."""
    begun: float = field(default_factory=time.monotonic)
    epoch: datetime = field(default_factory=lambda: datetime.now(UTC) - BATCHES * WINDOW)
    """Where the event times begin: the last batch ends now, as if the feed were live."""
    dropped: list[Dropped] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)

    def play(self) -> Iterator[str]:
        """Drop the phases one after another, then take the server's world apart; yields a line for what happens."""
        live = self.live
        try:
            for phase in PHASES:
                yield f"[bold]{phase.title}[/bold]"
                if live is not None:
                    live.becomes(phase.live)
                self._drop(phase)
                if live is not None and phase.last:
                    yield from live.release_badly()
                yield from self.watch.until(phase.title, lambda phase=phase: self._done(phase))  # type: ignore[misc]
                if live is not None:
                    yield from live.start()
            if live is not None:
                yield from live.take_apart()
        finally:
            if live is not None:
                live.stop()

    def _drop(self, phase: Phase) -> None:
        folder = self.services.batches.landing(self.spec.name)
        drop = simulate(
            self.world,
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
        rolling_out = self.live is not None and not self.live.bad_release_ended
        return told and not (phase.last and (healing or unmeasured or rolling_out))

    def _labels_wait(self) -> bool:
        labels = self.services.labels
        return bool(labels.landed(self.spec.name) or labels.pending(self.spec.name))

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.begun

    def result(self) -> Result:
        """After the play."""
        batches = story.batches(self.services, self.spec)
        return Result(
            wall_s=round(self.elapsed_s, 1),
            metric=self.spec.performance.metric,
            batches=batches,
            faults=self.faults,
            cases=story.case_files(self.services, self.spec),
            champions=story.champions(self.services, self.spec),
            rows_dropped=sum(dropped.rows for dropped in self.dropped),
            served=None if self.live is None else self.live.result(),
        )


def start_demonstration(
    services: Services, *, rows: int, seed: int, phase_seconds: float, batches_only: bool = False
) -> Demonstration:
    """The payments model's demonstration, its clock started."""
    spec, world = model_named(services, MODEL), PaymentsWorld(seed=seed)
    watch = Watch(services, spec, phase_seconds)
    live = None if batches_only else Live(services=services, spec=spec, world=world, watch=watch)
    return Demonstration(services=services, spec=spec, rows=rows, world=world, watch=watch, live=live)
