"""Two versions on trial: both score every row, one answers it, and a failing challenger harms nobody."""

import pytest
from served import ROW, Lines, Version, World, line, sample

from selfheal_assets.core.traffic import Arm

ACCOUNTS = [f"a{number}" for number in range(200)]


def predicted(world: World) -> tuple[list[dict[str, object]], dict[str, float]]:
    """The answers to one request over all accounts, and what was counted."""
    with world.client() as client:
        response = client.post("/predict", json={"rows": [{**ROW, "account_id": account} for account in ACCOUNTS]})
        assert response.status_code == 200, response.text
        names = ("selfheal_score_count", "selfheal_row_errors_total", "selfheal_rows_total", "selfheal_row_slow_total")
        counted = {f"{name}:{arm}": sample(client, name, arm=arm, rollout="r1") for name in names for arm in list(Arm)}
    return response.json()["answers"], counted


def on_trial(weight: float, challenger: Version | None = None) -> World:
    other = challenger or Version("2", most=100.0)
    return World(lines=Lines(line(Version("1"), other, challenger="2", weight=weight, rollout="r1")))


def test_in_the_shadow_both_score_and_the_champion_answers() -> None:
    world = on_trial(0.0)
    answers, counted = predicted(world)
    assert {answer["version"] for answer in answers} == {"1"}
    assert counted["selfheal_score_count:challenger"] == counted["selfheal_score_count:champion"] == 200
    assert counted["selfheal_rows_total:champion"] == 200
    assert counted["selfheal_rows_total:challenger"] == 0
    assert all(row.scores == {"champion": 0.01, "challenger": 0.1} for row in world.log.rows)


def test_the_split_is_that_of_the_traffic() -> None:
    world = on_trial(0.25)
    assert world.lines.line is not None
    answers, counted = predicted(world)
    said = {answer["version"]: answer["score"] for answer in answers}
    assert said == {"1": 0.01, "2": 0.1}
    expected = [world.lines.line.traffic.arm(account) for account in ACCOUNTS]
    assert [row.arm for row in world.log.rows] == expected
    assert counted["selfheal_rows_total:challenger"] == expected.count(Arm.CHALLENGER)
    assert 20 < expected.count(Arm.CHALLENGER) < 80


@pytest.mark.parametrize(
    "broken",
    [Version("2", error=RuntimeError("boom")), Version("2", says=float("nan")), Version("2", says=1.5)],
    ids=["raises", "NaN", "no probability"],
)
def test_where_the_challenger_fails_the_champion_answers(broken: Version) -> None:
    world = on_trial(1.0, broken)
    answers, counted = predicted(world)
    assert {answer["version"] for answer in answers} == {"1"}
    assert counted["selfheal_row_errors_total:challenger"] == 200
    assert counted["selfheal_row_errors_total:champion"] == 0
    assert counted["selfheal_rows_total:champion"] == 200
    assert all((row.arm, row.scores) == (Arm.CHAMPION, {"champion": 0.01}) for row in world.log.rows)


def test_a_challenger_that_is_not_loaded_is_an_error_of_its_own() -> None:
    world = World(lines=Lines(line(Version("1"), challenger="2", weight=1.0, rollout="r1")))
    _, counted = predicted(world)
    assert counted["selfheal_row_errors_total:challenger"] == 200


def test_a_champion_that_fails_leaves_what_the_challenger_answers() -> None:
    world = World(
        lines=Lines(
            line(Version("1", error=RuntimeError("boom")), Version("2"), challenger="2", weight=1.0, rollout="r1")
        )
    )
    answers, counted = predicted(world)
    assert {answer["version"] for answer in answers} == {"2"}
    assert counted["selfheal_row_errors_total:champion"] == 200


def test_a_model_that_fails_is_said_without_a_trace() -> None:
    world = World(lines=Lines(line(Version("1", error=RuntimeError("secret")))))
    with world.client() as client:
        failed = client.post("/predict", json={"rows": [ROW]})
        assert sample(client, "selfheal_requests_total", outcome="error") == 1
        assert sample(client, "selfheal_row_errors_total", version="1") == 1
    assert failed.status_code == 500
    assert "secret" not in failed.text
    assert "Traceback" not in failed.text
    assert not world.log.rows


def test_slow_rows_are_counted_for_the_version_that_was_slow() -> None:
    world = on_trial(0.0)
    world.features.seconds = 0.15
    _, counted = predicted(world)
    assert counted["selfheal_row_slow_total:champion"] == counted["selfheal_row_slow_total:challenger"] == 200
