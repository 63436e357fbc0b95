"""The script of the demonstration's batches: what lands in which world, and what must follow. Plays nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from selfheal_assets.simulator.payments import Regime

LABELS_LATE = 2


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Batches that land together, and what must be seen before the next ones do."""

    title: str
    plan: Sequence[tuple[int, str]]
    usual: Regime = Regime.HEALTHY
    live: Regime = Regime.HEALTHY
    """The state of the world that live payments come from."""
    labels_after: int | None = LABELS_LATE
    """How many batches later the labels land; None: the batches bring them."""
    champion_after: int = 1
    """How many champions must have been promoted when the phase ends."""
    last: bool = False
    """All labels that are still held back land, a bad release is forced, and the incidents about the metric must have
    ended."""


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
    Phase(
        title="the world moves: a harmful shift",
        plan=[(9, "harmful_shift"), (10, "harmful_shift")],
        live=Regime.HARMFUL_SHIFT,
    ),
    Phase(
        title="healthy batches of the new world, and with them the labels of the first that moved; the challenger's "
        "rollout: shadow, canary, champion",
        plan=[(11, "healthy"), (12, "healthy")],
        usual=Regime.HARMFUL_SHIFT,
        live=Regime.HARMFUL_SHIFT,
        champion_after=2,
    ),
    Phase(
        title="two more, and the last labels: did it help?",
        plan=[(13, "healthy"), (14, "healthy")],
        usual=Regime.HARMFUL_SHIFT,
        live=Regime.HARMFUL_SHIFT,
        champion_after=2,
        last=True,
    ),
)
BATCHES = sum(len(phase.plan) for phase in PHASES)
