"""The live half of the demonstration: traffic on a real server, and chaos. Says what it did; helps nobody heal."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from selfheal_assets.core.causes import Cause
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.rollout_state import Rollout
from selfheal_assets.operations import story
from selfheal_assets.operations.demo_bad_release import force_bad_release
from selfheal_assets.operations.demo_chaos import kill_server
from selfheal_assets.operations.demo_measured import Chaos, measured
from selfheal_assets.operations.demo_served import LIVE, Served
from selfheal_assets.operations.demo_serving import is_ready, server_of
from selfheal_assets.operations.demo_traffic import LivePayments, LiveTraffic
from selfheal_assets.operations.demo_watch import Watch
from selfheal_assets.simulator.payments import PaymentsWorld, Regime
from selfheal_assets.stages.rollout_records import has_outcome, rollout_of
from selfheal_assets.wiring import Services

AWAY_SECONDS = 20.0
COMMIT_SECONDS = 1.0
"""Longer than the last answers need to be written down."""


@dataclass(kw_only=True)
class Live:
    """The traffic, and what was done to it."""

    services: Services
    spec: ModelSpec
    world: PaymentsWorld
    watch: Watch
    regime: Regime = Regime.HEALTHY
    chaos: Chaos = field(default_factory=Chaos)
    traffic: LiveTraffic | None = None

    def becomes(self, regime: Regime) -> None:
        """The state of the world, for live payments too."""
        self.regime = regime
        if self.traffic is not None:
            self.traffic.payments.becomes(regime)

    def start(self) -> Iterator[str]:
        """Once the server is ready; nothing when there is traffic already."""
        if self.traffic is not None:
            return
        yield from self.watch.until("a server that is ready", self._ready)
        server = server_of(self.services.home)
        assert server is not None
        self.traffic = LiveTraffic(server.url, LivePayments(self.world, self.regime))
        self.traffic.start()
        yield f"[bold]live traffic begins at {server.url}, and goes on to the end[/bold]"

    def release_badly(self) -> Iterator[str]:
        """Only the beginning; its end is waited for with the batches'."""
        yield "[bold red]CHAOS[/bold red] [bold]a model that learned flipped labels is forced past validation[/bold]"
        forced = force_bad_release(self.services, self.spec)
        self.chaos.bad_rollout = forced.id
        yield f"released   version {forced.challenger}, beside champion {forced.champion}"

    @property
    def bad_release_ended(self) -> bool:
        """Its rollout, and all that its end asks for."""
        found = self._bad_rollout()
        return found is not None and found.ended and has_outcome(self.services.ledger, self.spec, found)

    def take_apart(self) -> Iterator[str]:
        """The feature store goes away, then the server dies; ends when all of it is healed."""
        yield from self.take_store_away()
        yield from self.kill()
        yield from self.settle()

    def take_store_away(self) -> Iterator[str]:
        """For `AWAY_SECONDS`; ends when an answer has live features again."""
        yield f"[bold red]CHAOS[/bold red] [bold]the feature store is taken away for {AWAY_SECONDS:.0f} s[/bold]"
        with self.services.online_store_away(AWAY_SECONDS) as self.chaos.store_went:
            yield from self.watch.for_seconds(AWAY_SECONDS)
        self.chaos.store_came = time.time()
        yield "the feature store is back"
        yield from self.watch.until("live features", lambda: self._answered(self.chaos.store_came, LIVE))

    def kill(self) -> Iterator[str]:
        """Ends when its successor has answered."""
        yield "[bold red]CHAOS[/bold red] [bold]the server is killed (SIGKILL)[/bold]"
        self.chaos.killed_pid, self.chaos.killed_at = kill_server(self.services.home)
        yield from self.watch.until("a new server", self._succeeded)
        yield f"answering  process {self.chaos.successor} in the place of {self.chaos.killed_pid}"

    def settle(self) -> Iterator[str]:
        """Until the incidents have ended, and the killed server's answers were ingested as a batch."""
        yield "[bold]the answers of the killed server land as a batch; the incidents are verified[/bold]"
        yield from self.watch.until("verified incidents", self._settled)

    def stop(self) -> None:
        if self.traffic is not None:
            self.traffic.stop()
            time.sleep(COMMIT_SECONDS)

    def result(self) -> Served:
        """After `stop`."""
        assert self.traffic is not None
        cases = story.case_files(self.services, self.spec)
        return measured(self.services, self.spec, self.traffic, self.chaos, cases)

    def _ready(self) -> bool:
        server = server_of(self.services.home)
        return server is not None and is_ready(server.url)

    def _bad_rollout(self) -> Rollout | None:
        return rollout_of(self.services.ledger, self.spec, self.chaos.bad_rollout)

    def _answered(self, since: float, level: str | None = None) -> bool:
        """Whether a request that was sent after that was answered, with features of that level."""
        assert self.traffic is not None
        late = [one for one in self.traffic.answered[-100:] if one.sent > since]
        return any(level in (None, row.level) for one in late for row in one.answers)

    def _succeeded(self) -> bool:
        server = server_of(self.services.home)
        if server is None or server.pid == self.chaos.killed_pid:
            return False
        self.chaos.successor = server.pid
        return self._answered(self.chaos.killed_at)

    def _settled(self) -> bool:
        services, name = self.services, self.spec.name
        if services.ledger.open_batches(name, limit=1) or services.batches.landed(name):
            return False
        cases = story.case_files(services, self.spec)
        for cause in (Cause.FEATURE_STORE_FAULT, Cause.SERVING_FAULT):
            found = [case for case in cases if case.incident.cause is cause]
            if not found or not all(case.incident.ended for case in found):
                return False
        return True
