"""Probes: rows whose scores are known go the way of a request, and leave no trace of their own."""

from typing import Any

import pytest
from served import Features, TestClient, Version, World, line, sample

from selfheal_assets.serving import probing


@pytest.fixture(autouse=True)
def always_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "FRESH_SECONDS", -1.0)


def probed(client: TestClient, code: int = 200) -> dict[str, Any]:
    answer = client.post("/probe")
    assert answer.status_code == code, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_server_that_is_well_answers_its_probe() -> None:
    with World().client() as client:
        said = probed(client)
    assert (said["ok"], said["version"], said["level"], said["problem"]) == (True, "1", "live", None)
    assert 0 < said["milliseconds"] < 1000


def test_a_probe_is_neither_logged_nor_counted() -> None:
    world = World()
    with world.client() as client:
        for _ in range(5):
            probed(client)
        assert world.log.rows == []
        for name in ("requests_total", "rows_total", "score_count", "log_rows_total", "feature_rows_total"):
            assert sample(client, f"selfheal_{name}") == 0, name


def test_other_scores_than_at_the_validation_are_told() -> None:
    world = World()
    with world.client() as client:
        world.lines.line = line(Version("2", most=500.0))
        assert "2 of 2 scores differ" in probed(client, 503)["problem"]
        world.lines.line = line(Version("2", error=ValueError("no tree")))
        assert probed(client, 503)["problem"] == "ValueError: no tree"


def test_the_level_of_the_features_is_told_though_the_store_is_away() -> None:
    with World(features=Features(breaker_open=True)).client() as client:
        assert (probed(client)["ok"], probed(client)["level"]) == (True, "default")


def test_before_the_first_model_a_probe_fails() -> None:
    world = World()
    world.lines.line = None
    with world.client() as client:
        assert probed(client, 503)["problem"] == "No model stands ready yet."


def test_many_probes_at_once_ask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "FRESH_SECONDS", 60.0)
    world = World()
    with world.client() as client:
        assert len({probed(client)["milliseconds"] for _ in range(5)}) == 1
    assert len(world.features.asked) == 1


def test_every_kind_of_entity_has_a_canned_value() -> None:
    from selfheal_assets.serving.schemas import KINDS

    assert set(KINDS.values()) == set(probing.CANNED)
