"""A rollout without a server: both models score each clean batch, and the steps are taken on their rows."""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import pandas as pd
import pytest
from quick_home import quick_home
from rollout_world import ROWS, SPEC, WORLD, Clock, aliases, forward, land, outcome, standing

from selfheal_assets.core.rollout_state import RolloutState
from selfheal_assets.operations.in_process import InProcessLoop
from selfheal_assets.simulator.landing import drop
from selfheal_assets.simulator.payments import Regime

BATCHES = replace(SPEC, rollout=replace(SPEC.rollout, over="batches"))
S = RolloutState


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessLoop]:
    with quick_home(tmp_path_factory.mktemp("batches") / "home") as services:
        services.clock = Clock()
        with dg.DagsterInstance.get() as instance:
            loop = InProcessLoop(services, BATCHES, instance)
            land(loop, Regime.HEALTHY, 0, 1)
            land(loop, Regime.HARMFUL_SHIFT, 2, 3)
            yield loop


def test_it_goes_from_batch_to_batch(loop: InProcessLoop) -> None:
    """The label says which is better: the champion that harm was seen of is replaced on the same rows."""
    assert (standing(loop).state, aliases(loop)) == (S.SHADOW, ("1", None))
    seen = [standing(loop).state]
    for index in range(4, 8):
        land(loop, Regime.HARMFUL_SHIFT, index)
        forward(loop, minutes=6)
        loop.settle()
        seen.append(standing(loop).state)
    assert seen == [S.SHADOW, S.STEP, S.STEP, S.BAKE, S.PROMOTED]
    assert aliases(loop) == ("2", "1")
    ended = outcome(loop)
    assert ended is not None
    assert ended.status == "PROMOTED"
    rows = loop.services.batches.read("payments", "rollout", standing(loop).id)
    assert len(rows) == 4 * ROWS
    assert rows["label_place"].dropna().is_monotonic_increasing
    by_batch = [part for _, part in rows.groupby(rows.index // ROWS)]
    assert [round(part["challenger_answers"].mean(), 1) for part in by_batch] == pytest.approx([0, 0.5, 1, 1], abs=0.1)


def test_labels_that_come_later_are_joined_in_the_order_in_which_they_come(loop: InProcessLoop) -> None:
    from selfheal_assets.stages.rollout_batches import batch_look

    rollout = standing(loop)
    before, _ = batch_look(loop.services, BATCHES, rollout, loop.services.ledger.head().sequence)
    again, _ = batch_look(loop.services, BATCHES, rollout, 0)
    assert again == before, "read again from the beginning it is the same"
    assert len(before.loss_differences) == 4 * ROWS
    assert before.champion.rows == before.challenger.rows == 4 * ROWS
    unlabelled = WORLD.batch(9, ROWS, Regime.HARMFUL_SHIFT)
    drop(pd.DataFrame(unlabelled), loop.services.batches.landing("payments"), "payments-0009.parquet")
    loop.settle()
    after, _ = batch_look(loop.services, BATCHES, rollout, 0)
    assert after == before, "it has ended"
