"""What a request to predict gets: the score, who gave it, and an account of everything that was wrong."""

from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from served import NOW, ROW, Lines, Version, World, line, sample, served_spec, wait_for

from selfheal_assets.core.traffic import Arm
from selfheal_assets.ports.serving import FeatureLevel

JSON = {"content-type": "application/json"}


def test_rows_are_answered_in_order_and_logged() -> None:
    world = World()
    with world.client() as client:
        rows = [{**ROW, "amount": amount, "event_id": f"e{amount}"} for amount in (300.0, None, 100.0)]
        response = client.post("/predict", json={"rows": rows})
        assert sample(client, "selfheal_requests_total", outcome="ok") == 1
        assert sample(client, "selfheal_rows_total", version="1", arm="champion", level="live") == 3
        assert sample(client, "selfheal_score_count", arm="champion") == 3
        assert sample(client, "selfheal_feature_rows_total", level="live") == 3
        assert sample(client, "selfheal_log_rows_total") == 3
        assert sample(client, "selfheal_request_seconds_count", model="credit") == 1
    assert response.status_code == 200
    assert response.json() == {
        "model": "credit",
        "answers": [
            {"event_id": "e300.0", "score": 0.3, "version": "1", "level": "live"},
            {"event_id": "eNone", "score": 0.5, "version": "1", "level": "live"},
            {"event_id": "e100.0", "score": 0.1, "version": "1", "level": "live"},
        ],
    }
    assert [row.score for row in world.log.rows] == [0.3, 0.5, 0.1]
    first = world.log.rows[0]
    assert first.event == {**rows[0], "event_timestamp": NOW, "merchant_id": None, "when": None}
    assert (first.features, first.scores, first.arm) == ({"usual": 20.0}, {"champion": 0.3}, Arm.CHAMPION)
    assert 0.0 < first.latency_ms < 5_000.0
    assert world.log.closed
    assert world.features.closed
    assert world.lines.calls == ["start", "stop"]


def test_an_event_id_is_made_up_where_there_is_none() -> None:
    world = World()
    with world.client() as client:
        answers = client.post("/predict", json={"rows": [ROW, ROW]}).json()["answers"]
    ids = [answer["event_id"] for answer in answers]
    assert len(set(ids)) == 2
    assert ids == [row.event["event_id"] for row in world.log.rows]


@pytest.mark.parametrize("asks_store", [True, False])
def test_a_repeated_event_gets_the_same_answer_and_is_logged_once(asks_store: bool) -> None:
    world = World(asks_store=asks_store)
    with world.client() as client:
        first = client.post("/predict", json={"rows": [{**ROW, "event_id": "e1"}]}).json()
        world.lines.line = line(Version("2", most=50.0))
        again = client.post("/predict", json={"rows": [ROW, {**ROW, "event_id": "e1"}]}).json()
        other = client.post("/predict", json={"rows": [{**ROW, "event_id": "e1", "amount": 11.0}]})
    assert again["answers"][1] == first["answers"][0]
    assert again["answers"][0]["version"] == "2"
    assert [row.version for row in world.log.rows] == ["1", "2"]
    assert other.status_code == 409
    assert other.json()["problems"][0]["field"] == "rows.0.event_id"


def test_an_event_id_does_not_repeat_within_a_request() -> None:
    with World().client() as client:
        refused = client.post("/predict", json={"rows": [{**ROW, "event_id": "e1"}] * 2})
    assert refused.status_code == 422
    assert refused.json()["problems"] == [{"field": "rows.1.event_id", "message": "must not repeat within a request"}]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": "10"}, "amount"),
        ({"amount": True}, "amount"),
        ({"channel": 3}, "channel"),
        ({"channel": "x" * 257}, "channel"),
        ({"account_id": None}, "account_id"),
        ({"account_id": ""}, "account_id"),
        ({"event_id": None}, "event_id"),
        ({"event_timestamp": 1_700_000_000}, "event_timestamp"),
        ({"event_timestamp": "9999-12-31T23:59:59-23:00"}, "event_timestamp"),
        ({"event_timestamp": "0001-01-01T00:00:00+23:00"}, "event_timestamp"),
        ({"when": "yesterday"}, "when"),
        ({"bad": 1}, "bad"),
        ({"x" * 10_000: 1}, "x" * 80 + "…"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    world = World()
    with world.client() as client:
        refused = client.post("/predict", json={"rows": [ROW, {**ROW, **change}]})
        assert sample(client, "selfheal_requests_total", outcome="invalid") == 1
    assert refused.status_code == 422
    assert [problem["field"] for problem in refused.json()["problems"]] == [f"rows.1.{field}"]
    assert len(refused.content) < 1_000
    assert not world.log.rows


@pytest.mark.parametrize("missing", sorted(ROW))
def test_a_missing_field_is_named(missing: str) -> None:
    row = {name: value for name, value in ROW.items() if name != missing}
    with World().client() as client:
        refused = client.post("/predict", json={"rows": [row]})
    assert refused.status_code == 422
    assert refused.json()["problems"] == [{"field": f"rows.0.{missing}", "message": "Field required"}]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'{"rows":[{"account_id":"\xff","amount":1,"channel":"web"}]}', 400),
        (b'{"rows":[{"account_id":"\\ud800","amount":1,"channel":"web"}]}', 400),
        (b'{"rows":[{"account_id":"a","amount":NaN,"channel":"web"}]}', 422),
        (b'{"rows":[{"account_id":"a","amount":1e999,"channel":"web"}]}', 422),
        (b'{"rows":[{"account_id":"a","amount":1' + b"0" * 400 + b',"channel":"web"}]}', 422),
        (b'{"rows":[{"account_id":"a","amount":1' + b"0" * 5_000 + b',"channel":"web"}]}', 400),
        (b'{"rows":[]}', 422),
        (b'{"rows":{}}', 422),
        (b"null", 422),
        (b"[]", 422),
    ],
)
def test_hostile_bodies_are_refused(body: bytes, status: int) -> None:
    with World().client() as client:
        refused = client.post("/predict", content=body, headers=JSON)
    assert refused.status_code == status, refused.text
    assert refused.json()["error"]


def test_a_body_is_declared_as_json() -> None:
    with World().client() as client:
        assert client.post("/predict", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
        assert client.post("/predict", content=b"{}").status_code == 415


def test_a_large_body_is_not_read() -> None:
    body, sent = b'{"rows":[' + b" " * 5_000 + b"]}", []

    def chunks() -> Any:
        for start in range(0, len(body), 500):
            sent.append(start)
            yield body[start : start + 500]

    with World(spec=served_spec(max_body_kb=1)).client() as client:
        told = client.post("/predict", content=body, headers=JSON)
        chunked = client.post("/predict", content=chunks(), headers=JSON)
        lying = client.post("/predict", content=body, headers={**JSON, "content-length": "9" * 5_000})
    assert [told.status_code, chunked.status_code, lying.status_code] == [413, 413, 413]
    assert told.headers["connection"] == "close"


def test_a_request_has_a_bounded_number_of_rows() -> None:
    with World(spec=served_spec(max_rows=3)).client() as client:
        assert client.post("/predict", json={"rows": [ROW] * 3}).status_code == 200
        refused = client.post("/predict", json={"rows": [ROW] * 4})
    assert refused.status_code == 422
    assert refused.json()["problems"][0]["field"] == "rows"


def test_only_the_first_problems_are_listed() -> None:
    with World().client() as client:
        refused = client.post("/predict", json={"rows": [{"x": 1}] * 100}).json()
    assert len(refused["problems"]) == 20
    assert "20 of 400" in refused["error"]


def test_features_are_asked_as_of_the_event() -> None:
    world = World()
    times = [NOW, NOW - timedelta(days=2), NOW - timedelta(minutes=5), NOW - timedelta(days=2, minutes=1)]
    rows = [{**ROW, "amount": 1.0 + i, "event_timestamp": time.isoformat()} for i, time in enumerate(times)]
    with world.client() as client:
        answers = client.post("/predict", json={"rows": rows}).json()["answers"]
        client.post("/predict", json={"rows": [rows[0], rows[2]]})
    # Rows of one hour are asked for together; 11:55 and 11:59 are not in the hour of 12:00.
    assert world.features.asked == [times[0], times[1], times[2], times[3], times[0]]
    assert [answer["score"] for answer in answers] == [0.001, 0.002, 0.003, 0.004]
    assert [row.event["event_timestamp"] for row in world.log.rows[:4]] == times


def test_a_naive_time_is_utc() -> None:
    world = World()
    with world.client() as client:
        client.post("/predict", json={"rows": [{**ROW, "event_timestamp": "2026-03-10T12:00:00"}]})
        client.post("/predict", json={"rows": [{**ROW, "event_timestamp": "2026-03-10T14:00:00+02:00"}]})
    assert [row.event["event_timestamp"] for row in world.log.rows] == [NOW, NOW]


def test_before_the_first_model_a_request_is_told_to_wait() -> None:
    world = World(lines=Lines())
    with world.client() as client:
        refused = client.post("/predict", json={"rows": [ROW]})
        assert client.get("/model").status_code == 503
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"


def test_a_log_that_takes_nothing_is_open_about_it() -> None:
    world = World()
    world.log.trouble = "the disk is full"
    with world.client() as client:
        answered = client.post("/predict", json={"rows": [ROW]})
        ready = client.get("/ready")
        assert sample(client, "selfheal_log_trouble") == 1
        assert sample(client, "selfheal_log_lost_rows_total") == 1
    assert answered.status_code == 200
    assert answered.headers["x-selfheal-log"] == "lost"
    assert ready.status_code == 503
    assert ready.json()["problems"] == ["Answers are not being kept: the disk is full"]


def test_the_level_of_the_features_is_told() -> None:
    world = World()
    world.features.breaker_open = True
    with world.client() as client:
        answer = client.post("/predict", json={"rows": [ROW]}).json()["answers"][0]
        assert sample(client, "selfheal_breaker_open") == 1
    assert answer["level"] == FeatureLevel.DEFAULT


def test_an_answer_that_takes_too_long_is_given_up_and_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfheal_assets.serving.predicting.REQUEST_SECONDS", 0.2)
    world = World(spec=served_spec(max_waiting=1))
    world.features.hold = Event()
    with world.client() as client:
        late = client.post("/predict", json={"rows": [{**ROW, "event_id": "e1"}]})
        # Its thread is at work still: there is room for one.
        full = client.post("/predict", json={"rows": [ROW]})
        assert sample(client, "selfheal_requests_total", outcome="timeout") == 1
        assert sample(client, "selfheal_requests_total", outcome="rejected") == 1
        world.features.hold.set()
        wait_for(lambda: len(world.log.rows) == 1)
        wait_for(lambda: client.post("/predict", json={"rows": [{**ROW, "event_id": "e1"}]}).status_code == 200)
    assert (late.status_code, full.status_code) == (504, 429)
    assert [row.event["event_id"] for row in world.log.rows] == ["e1"], "the repeated request is the same event"


def test_no_header_tells_what_serves() -> None:
    with World().client() as client:
        assert not {"server", "x-powered-by"} & set(client.get("/health").headers)
