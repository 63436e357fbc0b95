"""The client: one event id through all tries, patience where it helps, and a word on why where it does not."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from selfheal_assets.core.errors import DeadlineError, OverloadedError, RefusedRequestError, ServingError
from selfheal_assets.serving.client import Answer, Client

ROW = {"account_id": "a1", "amount": 10.0}


def answered(request: httpx.Request) -> httpx.Response:
    rows = json.loads(request.content)["rows"]
    answers = [{"event_id": row["event_id"], "score": 0.5, "version": "1", "level": "live"} for row in rows]
    return httpx.Response(200, json={"model": "m", "answers": answers})


class Server:
    """Gives the replies in order, then answers; remembers what it was sent and how long was waited."""

    def __init__(self, *replies: httpx.Response | Exception) -> None:
        self.replies = list(replies)
        self.sent: list[Any] = []
        self.pauses: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(json.loads(request.content))
        reply: Any = self.replies.pop(0) if self.replies else answered(request)
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, httpx.Response)
        return reply

    def client(self, **changes: Any) -> Client:
        return Client("http://server", transport=httpx.MockTransport(self), sleep=self.pauses.append, **changes)


def test_answers_come_in_order() -> None:
    server = Server()
    with server.client() as client:
        answers = client.predict([{**ROW, "event_id": "e1"}, {**ROW, "event_id": "e2"}])
    assert answers[1] == Answer(event_id="e2", score=0.5, version="1", level="live")
    assert server.pauses == []


def test_a_retry_has_the_same_event_ids() -> None:
    server = Server(httpx.ConnectError("refused"), httpx.Response(503), httpx.ReadTimeout("late"))
    rows = [dict(ROW), {**ROW, "event_id": "mine"}]
    with server.client() as client:
        answers = client.predict(rows)
    assert len(server.sent) == 4
    assert all(sent == server.sent[0] for sent in server.sent)
    assert [answer.event_id for answer in answers] == [row["event_id"] for row in server.sent[0]["rows"]]
    assert answers[1].event_id == "mine"
    assert rows[0] == ROW, "what was given stays as it was"


def test_pauses_grow_and_differ() -> None:
    server = Server(*[httpx.Response(503)] * 4)
    with server.client(deadline_s=60.0) as client:
        client.predict([ROW])
    assert all(
        low <= pause <= high
        for pause, low, high in zip(server.pauses, (0.025, 0.05, 0.1, 0.2), (0.05, 0.1, 0.2, 0.4), strict=True)
    )


def test_retry_after_is_honoured() -> None:
    server = Server(
        httpx.Response(429, headers={"Retry-After": "3"}), httpx.Response(429, headers={"Retry-After": "x"})
    )
    with server.client(deadline_s=60.0) as client:
        client.predict([ROW])
    assert server.pauses[0] == 3.0
    assert server.pauses[1] < 1.0


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (lambda: httpx.Response(429, headers={"Retry-After": "1"}), OverloadedError),
        (lambda: httpx.Response(503, text="not ready"), DeadlineError),
        (lambda: httpx.ConnectError("refused"), DeadlineError),
    ],
)
def test_patience_ends(reply: Callable[[], Any], error: type[Exception]) -> None:
    server = Server(*[reply() for _ in range(10)])
    with server.client(deadline_s=30.0, retries=2) as client, pytest.raises(error, match="within 30 s and 3 tries"):
        client.predict([ROW])
    assert len(server.sent) == 3


def test_no_pause_reaches_past_the_deadline() -> None:
    server = Server(httpx.Response(429, headers={"Retry-After": "60"}))
    with server.client(deadline_s=5.0) as client, pytest.raises(OverloadedError):
        client.predict([ROW])
    assert server.pauses == []


def test_what_is_wrong_is_not_sent_again() -> None:
    server = Server(httpx.Response(422, json={"error": "wrong", "problems": [{"field": "rows.0.amount"}]}))
    with server.client() as client, pytest.raises(RefusedRequestError, match=r"rows\.0\.amount"):
        client.predict([ROW])
    assert len(server.sent) == 1


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"answers": [{"event_id": "e"}]}),
        httpx.Response(200, json={"answers": []}),
    ],
)
def test_an_answer_that_is_none_is_an_error(reply: httpx.Response) -> None:
    with Server(reply).client() as client, pytest.raises(ServingError, match="must answer every row"):
        client.predict([ROW])


def test_values_of_numpy_and_pandas_are_plain_on_the_wire() -> None:
    server = Server()
    time = pd.Timestamp("2026-03-10T12:00:00Z")
    with server.client() as client:
        client.predict(
            [{"amount": np.float64(1.5), "at": time, "then": datetime(2026, 3, 10, tzinfo=UTC), "n": np.int64(3)}]
        )
        with pytest.raises(RefusedRequestError, match="plain values"):
            client.predict([{"amount": object()}])
    row = server.sent[0]["rows"][0]
    assert (row["amount"], row["at"], row["n"]) == (1.5, "2026-03-10T12:00:00+00:00", 3)


def test_the_column_of_the_event_id_can_be_named() -> None:
    server = Server(httpx.Response(422))
    with server.client(event_id="payment_id") as client, pytest.raises(RefusedRequestError):
        client.predict([ROW])
    assert "payment_id" in server.sent[0]["rows"][0]


@pytest.mark.parametrize("wrong", [{"deadline_s": 0.0}, {"retries": -1}])
def test_limits_must_be_sound(wrong: dict[str, Any]) -> None:
    with pytest.raises(ServingError, match="deadline_s must be positive"):
        Server().client(**wrong)
