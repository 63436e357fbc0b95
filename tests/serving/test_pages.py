"""What people and monitors read from a server, and what operators tell it."""

from datetime import timedelta

import pytest
from served import NOW, ROW, TestClient, Trouble, Version, World, line, sample, wait_for

POSTS = ("/admin/reload", "/admin/pause", "/admin/resume")


def test_the_model_is_shown_with_its_age_and_its_challenger() -> None:
    world = World()
    world.clock.time = NOW + timedelta(minutes=2)
    world.lines.line = line(Version("3"), Version("4", run_id="r4"), challenger="4", weight=0.25, rollout="x")
    with world.client() as client:
        shown = client.get("/model").json()
    assert (shown["version"], shown["alias"], shown["run_id"], shown["age_seconds"]) == ("3", "champion", "r1", 120.0)
    assert (shown["challenger"]["version"], shown["challenger"]["run_id"], shown["weight"]) == ("4", "r4", 0.25)
    assert (shown["standby"], shown["paused"]) == (None, False)


def test_a_version_that_went_is_no_longer_told() -> None:
    world = World()
    with world.client() as client:
        wait_for(lambda: sample(client, "selfheal_model_info", version="1", alias="champion") == 1)
        assert sample(client, "selfheal_ready") == 1
        world.lines.line = line(Version("2"), Version("1"), standby="1")
        wait_for(lambda: sample(client, "selfheal_model_info", version="2", alias="champion") == 1)
        assert sample(client, "selfheal_model_info", version="1", alias="champion") == 0
        assert sample(client, "selfheal_model_info", version="1", alias="standby") == 1


def test_an_application_can_be_started_again() -> None:
    world = World()
    app = world.app()
    for _ in range(2):
        with TestClient(app) as client:
            assert client.post("/predict", json={"rows": [ROW]}).status_code == 200
    assert world.lines.calls == ["start", "stop"] * 2


def test_what_is_wanted_and_cannot_serve_is_told() -> None:
    world = World()
    world.lines.troubles = (Trouble("2", "it fails its probe"),)
    world.lines.registry_trouble = "it is down"
    with world.client() as client:
        assert client.get("/model").json()["troubles"] == ["it is down", "Version 2 cannot serve: it fails its probe"]
        assert client.get("/ready").status_code == 200
        wait_for(lambda: sample(client, "selfheal_refused_versions") == 1)
        assert sample(client, "selfheal_registry_trouble") == 1


def test_business_values_are_counted_by_version() -> None:
    with World().client() as client:
        values = [{"version": "1", "value": value} for value in (0.5, 1.0)]
        assert client.post("/business", json=values).json() == {"accepted": 2}
        assert sample(client, "selfheal_business_total", version="1") == 2
        assert sample(client, "selfheal_business_sum_total", version="1") == 1.5
        assert sample(client, "selfheal_business_squares_total", version="1") == 1.25


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"version": "9", "value": 0.5}, "0.version"),
        ({"version": "1", "value": 1.5}, "0.value"),
        ({"version": 1, "value": 0.5}, "0.version"),
        ({"version": "1", "value": None}, "0.value"),
        ({"version": "1", "value": 0.5, "more": 1}, "0.more"),
    ],
)
def test_a_wrong_business_value_is_named(value: dict[str, object], field: str) -> None:
    with World().client() as client:
        refused = client.post("/business", json=[value])
        assert sample(client, "selfheal_business_total") == 0
    assert refused.status_code == 422
    assert refused.json()["problems"][0]["field"] == field


@pytest.mark.parametrize("path", POSTS)
def test_without_a_token_there_are_no_admin_calls(path: str) -> None:
    with World().client() as client:
        assert client.post(path, headers={"authorization": "Bearer "}).status_code == 404
        assert path not in client.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("sent", [None, b"", b"Bearer", b"Bearer ", b"Bearer t", b"bearer t\xf6ken", b"t\xf6ken"])
def test_an_admin_call_needs_the_token(path: str, sent: bytes | None) -> None:
    world = World(token="tök")
    with world.client() as client:
        refused = client.post(path, headers={} if sent is None else {b"authorization": sent})
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert (world.lines.calls, world.lines.paused) == (["start", "stop"], False)


def test_an_admin_call_steers_the_line() -> None:
    world = World(token="token")
    carried = {"authorization": "Bearer token"}
    with world.client() as client:
        assert client.post("/admin/reload", headers=carried).json() == {"ready": True, "problems": []}
        assert client.post("/admin/pause", headers=carried).status_code == 200
        assert client.get("/model").json()["paused"]
        assert client.post("/admin/resume", headers=carried).status_code == 200
        assert not client.get("/model").json()["paused"]
    assert world.lines.calls == ["start", "reload", "stop"]
