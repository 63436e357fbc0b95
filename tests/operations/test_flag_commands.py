"""`selfheal flags`: what is switched off holds, is told by whom and why, and lets go again."""

from collections.abc import Callable

import pytest
from brain import Life
from kept_home import Home

from selfheal_assets.core.causes import Cause
from selfheal_assets.core.evidence import Status
from selfheal_assets.core.record import RecordKind
from selfheal_assets.stages.situation import gather

HARMED = {"quality": Status.CLEAR, "drift": Status.RAISED, "performance": Status.RAISED}
ALL = ["--reason", "[release] freeze"]


def switched_off(kept: Home, life: Life) -> set[str]:
    return set(gather(kept.ledger, life.spec, life.now).switched_off)


def test_one_action_of_one_model_and_back(kept: Home, begun: Callable[..., Life]) -> None:
    assert "no flag was ever set" in kept.run("flags").output
    life = begun()
    assert "retrain of payments is now off" in kept.run("flags", "set", "payments", "retrain", "off", *ALL).output
    assert switched_off(kept, life) == {"retrain"}
    table = kept.run("flags").output
    for told in ("payments", "retrain", "OFF", "ada", "[release] freeze"):
        assert told in table, told
    assert "already off" in kept.run("flags", "set", "payments", "retrain", "off").output
    assert len(kept.ledger.newest("payments", RecordKind.FLAG, limit=9)) == 1
    assert kept.run("flags", "set", "payments", "retrain", "on").exit_code == 0
    assert switched_off(kept, life) == set()
    assert "ON" in kept.run("flags").output
    assert "now off" in kept.run("flags", "set", "payments", "retrain", "off").output, "a second time"


def test_the_kill_switch_holds_every_action_of_every_model(kept: Home, begun: Callable[..., Life]) -> None:
    assert kept.run("flags", "kill", *ALL).exit_code == 0
    life = begun()
    life.ledger.append(*kept.ledger.newest("*", RecordKind.FLAG))
    life.see(**HARMED).see(**HARMED)
    assert life.incidents[Cause.HARMFUL_DRIFT].hold == "flag"
    assert "every action is switched off; see `selfheal flags`" in life.incidents[Cause.HARMFUL_DRIFT].reason
    assert kept.run("flags", "set", "*", "*", "on").exit_code == 0
    assert "every action of every model is already on" in kept.run("flags", "unkill").output
    assert switched_off(kept, life) == set()


def test_unkill_leaves_what_was_switched_off_by_itself(kept: Home, begun: Callable[..., Life]) -> None:
    for command in (("set", "payments", "rollback", "off"), ("kill",), ("unkill",)):
        assert kept.run("flags", *command).exit_code == 0
    assert switched_off(kept, begun()) == {"rollback"}


def test_the_kill_switch_needs_no_readable_declaration(kept: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("read the declarations")

    monkeypatch.setattr("selfheal_assets.operations.models.declared_models", broken)
    assert kept.run("flags", "kill").exit_code == 0
    assert [flag.status for flag in kept.ledger.newest("*", RecordKind.FLAG)] == ["OFF"]


def test_what_no_flag_can_hold_is_refused(kept: Home) -> None:
    assert "received 'other'" in kept.refused("flags", "set", "other", "retrain", "off")
    assert "received 'quarantine', which nothing holds back" in kept.refused(
        "flags", "set", "payments", "quarantine", "off"
    )
    assert kept.run("flags", "set", "payments", "retrain", "perhaps").exit_code == 2
    assert not kept.ledger.newest("payments", RecordKind.FLAG)
