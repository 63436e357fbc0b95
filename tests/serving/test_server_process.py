"""A real server process: it starts, answers, refuses what is too much, and ends without losing an answer."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import httpx
import pytest
from served import ROW
from serving_process import as_json, running

from selfheal_assets.core.errors import OverloadedError
from selfheal_assets.serving.client import Answer, Client


def test_a_server_answers_and_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    with running(tmp_path / "home") as server:
        registered = json.loads(server.registered.read_text(encoding="utf-8"))
        assert (registered["url"], registered["pid"]) == (server.url, server.process.pid)
        with Client(server.url, deadline_s=20.0) as client:
            answer = client.predict([{**ROW, "event_id": "e1"}])[0]
        assert answer == Answer(event_id="e1", score=0.01, version="1", level="live")
        headers = httpx.get(f"{server.url}/health").headers
        assert "server" not in headers
        assert server.ended() == 0
        assert not server.registered.exists()
        assert server.landed == ["e1"]
    lines = as_json(server.said)
    assert all({"time", "level", "message"} <= set(line) for line in lines)
    assert not [line for line in lines if line["level"] in ("error", "critical")]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_is_being_answered_is_finished(tmp_path: Path, workers: str) -> None:
    with running(tmp_path / "home", "--workers", workers, seconds=1.0) as server, ThreadPoolExecutor(6) as pool:

        def ask(number: int) -> int:
            row = {**ROW, "event_id": f"e{number}"}
            return httpx.post(f"{server.url}/predict", json={"rows": [row]}, timeout=20.0).status_code

        asked = [pool.submit(ask, number) for number in range(6)]
        assert _waits(server.url)
        assert server.ended() == 0
        assert [one.result() for one in asked] == [200] * 6
    assert sorted(server.landed) == [f"e{number}" for number in range(6)]


def _waits(url: str) -> bool:
    """What was sent has arrived by then, and is not answered yet."""
    sleep(0.4)
    return httpx.get(f"{url}/health", timeout=20.0).status_code == 200


def test_one_request_too_many_is_told_to_wait(tmp_path: Path) -> None:
    with running(tmp_path / "home", seconds=0.5, waiting=4) as server, ThreadPoolExecutor(24) as pool:

        def ask(_: int) -> httpx.Response:
            return httpx.post(f"{server.url}/predict", json={"rows": [ROW]}, timeout=20.0)

        responses = list(pool.map(ask, range(24)))
        codes = [response.status_code for response in responses]
        assert set(codes) == {200, 429}
        assert codes.count(200) >= 4
        assert {r.headers["retry-after"] for r in responses if r.status_code == 429} == {"1"}
        counted = httpx.get(f"{server.url}/metrics").text
        assert f'selfheal_requests_total{{model="credit",outcome="rejected"}} {float(codes.count(429))}' in counted
        # Whoever waits as told is answered.
        with Client(server.url, deadline_s=30.0, retries=20) as client:
            assert client.predict([ROW])[0].score == 0.01
        assert server.ended() == 0
        assert len(server.landed) == codes.count(200) + 1


def test_the_client_says_when_there_is_no_room(tmp_path: Path) -> None:
    with running(tmp_path / "home", seconds=2.0, waiting=1) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.post, f"{server.url}/predict", json={"rows": [ROW]}, timeout=20.0)
        assert _waits(server.url)
        with Client(server.url, deadline_s=0.5) as client, pytest.raises(OverloadedError, match="429"):
            client.predict([ROW])
        assert first.result().status_code == 200


def test_worker_processes_count_together(tmp_path: Path) -> None:
    with running(tmp_path / "home", "--workers", "2") as server:
        for number in range(40):  # a connection each, so that both processes are met
            httpx.post(f"{server.url}/predict", json={"rows": [{**ROW, "event_id": f"e{number}"}]}, timeout=20.0)
        counted = httpx.get(f"{server.url}/metrics").text
        assert 'selfheal_requests_total{model="credit",outcome="ok"} 40.0' in counted
        assert "selfheal_ready 1.0" in counted
        shared = server.home / "serving" / "payments" / "metrics"
        assert len(list(shared.iterdir())) == 1
        assert server.ended() == 0
        assert not list(shared.iterdir())
        assert sorted(server.landed) == sorted(f"e{number}" for number in range(40))


def test_a_client_that_does_not_send_its_body_holds_nobody_up(tmp_path: Path) -> None:
    with running(tmp_path / "home", waiting=2) as server:
        port = int(server.url.rpartition(":")[2])
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        with (
            socket.create_connection(("127.0.0.1", port)) as first,
            socket.create_connection(("127.0.0.1", port)) as second,
        ):
            first.sendall(head)
            second.sendall(head)
            assert b" 408 " in second.recv(1_000)
            assert httpx.post(f"{server.url}/predict", json={"rows": [ROW]}, timeout=20.0).status_code == 200


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with running(tmp_path / "first") as server:
        second = running(tmp_path / "second", "--port", server.url.rpartition(":")[2])
        with pytest.raises(AssertionError, match="Address already in use"):
            second.__enter__()
