"""A small payments model with a rollout, over the simulated world; what its rollouts and aliases are at present."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from quick_home import small

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.core.rollout_state import Rollout
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.simulator.landing import drop
from selfheal_assets.simulator.payments import PaymentsWorld, Regime
from selfheal_assets.stages.rollout_records import newest_rollout

ROWS, WORLD = 800, PaymentsWorld(seed=3)


class Clock:
    """The real time, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now().astimezone() + self.ahead


def with_rollout(spec: ModelSpec, **rollout: Any) -> ModelSpec:
    limits: dict[str, Any] = {
        "over": "requests",
        "shadow_requests": 500,
        "steps": (0.5, 1.0),
        "error_margin": 0.05,
        "slow_margin": 0.05,
        "bake_minutes": 5.0,
    }
    return replace(spec, rollout=replace(spec.rollout, **{**limits, **rollout}))


SPEC = with_rollout(small(load_spec(PROJECT / MODELS / "payments" / "defs.yaml")))


def land(loop: InProcessLoop, regime: Regime, *indexes: int) -> None:
    for index in indexes:
        rows = WORLD.batch(index, ROWS, regime)
        drop(rows, loop.services.batches.landing("payments"), f"payments-{index:04d}.parquet")
    loop.settle()


def aliases(loop: InProcessLoop) -> tuple[str | None, str | None]:
    """The champion, and the one before."""
    found = [loop.services.registry.by_alias("payments", alias) for alias in ("champion", "previous")]
    champion, previous = (version.version if version else None for version in found)
    return champion, previous


def standing(loop: InProcessLoop) -> Rollout:
    found = newest_rollout(loop.services.ledger, SPEC)
    assert found is not None
    return found


def outcome(loop: InProcessLoop) -> Record | None:
    found = loop.services.ledger.newest("payments", RecordKind.OUTCOME, subject=standing(loop).id)
    return found[0] if found else None


def forward(loop: InProcessLoop, **delta: float) -> None:
    clock = loop.services.clock
    assert isinstance(clock, Clock)
    clock.ahead += timedelta(**delta)
