"""`selfheal rollout`: what stands is told, and a person's word is taken down under a name."""

from datetime import UTC, datetime

import pytest
from kept_home import Home

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.rollout import opened
from selfheal_assets.core.rollout_state import RolloutState
from selfheal_assets.project import MODELS, PROJECT
from selfheal_assets.stages.rollout_records import newest_rollout, write

SPEC = load_spec(PROJECT / MODELS / "payments" / "defs.yaml")


def begin(kept: Home) -> None:
    rollout = opened(
        SPEC.rollout, decision_id="d1", model="payments", champion="1", challenger="2", now=datetime.now(UTC)
    )
    assert write(kept.ledger, rollout)


def test_without_one_there_is_nothing_to_say(kept: Home) -> None:
    assert "payments never had a rollout" in kept.run("rollout", "status", "payments").output
    for word in (["pause", "payments"], ["resume", "payments"], ["abort", "payments", "--reason", "x"]):
        assert "must have been opened" in kept.refused("rollout", *word)
    assert "must be declared" in kept.refused("rollout", "status", "nobody")


def test_hold_go_on_and_end(kept: Home) -> None:
    begin(kept)
    assert "SHADOW, paused: ada holds it" in kept.run("rollout", "pause", "payments").output
    assert "under way and not paused" in kept.refused("rollout", "pause", "payments")
    assert "SHADOW: ada lets it go on" in kept.run("rollout", "resume", "payments").output
    assert "must say why" in kept.refused("rollout", "abort", "payments", "--reason", " ")
    said = kept.run("rollout", "abort", "payments", "--reason", "[sales] day").output
    assert "version 2 is ABORTED: ada ended it: [sales] day" in said
    standing = newest_rollout(kept.ledger, SPEC)
    assert standing is not None
    assert (standing.state, standing.ended_by, standing.transition) == (RolloutState.ABORTED, "ada", 3)
    table = kept.run("rollout", "status", "payments").output
    for told in ("SHADOW (paused)", "ABORTED", "[sales] day", "version 2 in the place of 1"):
        assert told in table, told


def test_a_word_that_comes_too_late_changes_nothing(kept: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(kept)
    monkeypatch.setattr("selfheal_assets.operations.rollouts.write", lambda *_: False)
    assert "went on in this moment" in kept.refused("rollout", "pause", "payments")
