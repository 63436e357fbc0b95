"""The serving benchmark's and the soak's kernels, against a server that does what it is told; both once, for real."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from serving_load import Requests, closed, measured, opened, quantile_ms
from serving_report import Measured, Setting, goals, report
from serving_servers import BARE, FEATURES, MLFLOW, PLAIN, free_port
from serving_wire import Connection, Template, event_id
from soak_faults import KILLED, REGISTRY_AWAY, RELEASED, STORE_AWAY, Injected, plan
from soak_load import Asking, Plan
from soak_memory import MemoryWatch, Sample, resident_mb
from soak_report import report as soak_report
from soak_report import verdict
from soak_verdict import JUDGED_SECONDS, Asked, Run, checks, growth, read_asked
from typer.testing import CliRunner


class Scripted(BaseHTTPRequestHandler):
    """Answers each event with its number as the score, after `server.seconds`; 500 where it was told to."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        row = json.loads(self.rfile.read(int(self.headers["content-length"])))["rows"][0]
        self.server.met.append(row["id"])  # type: ignore[attr-defined]
        time.sleep(self.server.seconds)  # type: ignore[attr-defined]
        answer = {"event_id": row["id"], "score": 1e-6 * int(row["id"]), "version": "1", "level": "live"}
        body = json.dumps({"answers": [answer]}).encode()
        # In two parts: a response is whole when all of it is there.
        self.send_response(500 if row["id"] in self.server.broken else 200)  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:10])
        self.wfile.flush()
        time.sleep(0.001)
        self.wfile.write(body[10:])

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def server() -> Iterator[SimpleNamespace]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as http:
        http.seconds, http.met, http.broken = 0.0, [], set()  # type: ignore[attr-defined]
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield http  # type: ignore[misc]
        http.shutdown()
        thread.join()


def requests() -> Requests:
    contents = [{"rows": [{"amount": amount}]} for amount in (1.0, 2.0)]
    return Requests({"first": 0, "path": "/predict", "contents": contents, "event_id": "id"})


def port(server: SimpleNamespace) -> int:
    return int(server.server_address[1])


def test_requests_have_ids_of_their_own_and_say_how_long_they_are() -> None:
    template = Template("/predict", {"rows": [{"amount": 1.5}]}, event_id="id")
    head, _, body = template.request(7).partition(b"\r\n\r\n")
    assert json.loads(body) == {"rows": [{"amount": 1.5, "id": event_id(7)}]}
    assert re.search(rb"Content-Length: (\d+)", head)[1] == b"%d" % len(body)  # type: ignore[index]
    assert template.request(8) != template.request(7)


def test_the_closed_loop_counts_what_was_answered(server: SimpleNamespace) -> None:
    server.broken = {event_id(3)}
    with closing(Connection(port(server))) as one, closing(Connection(port(server))) as two:
        seen = closed([one, two], requests(), 0.3)
    assert seen.failed == 1
    assert len(set(server.met)) == len(server.met)
    assert len(seen.latencies) + 1 <= len(server.met) <= len(seen.latencies) + 3
    assert min(seen.latencies) >= 0.001


def test_the_open_loop_counts_from_when_a_request_was_due(server: SimpleNamespace) -> None:
    """50 a second to a server that takes 0.1 s over one connection: each waits 0.08 s longer than the one before."""
    server.seconds = 0.1
    with closing(Connection(port(server))) as one:
        seen = opened([one], requests(), 0.2, 50.0)
    assert len(seen.latencies) == 10
    assert seen.latencies == sorted(seen.latencies)
    assert seen.latencies[-1] >= 10 * 0.1 - 9 / 50.0


def test_a_measurement_says_all_that_the_report_needs(server: SimpleNamespace) -> None:
    contents = [{"rows": [{"amount": 1.0}]}]
    asked = {"port": port(server), "path": "/predict", "contents": contents, "event_id": "id", "first": 0}
    found = measured({**asked, "connections": 2, "seconds": 0.2, "rate": 100.0})
    assert (found["answered"], found["failed"]) == (20, 0)
    assert found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
    assert 0.0 < found["generator_share"] < 1.0


def test_quantiles_are_values_that_were_seen() -> None:
    assert quantile_ms([0.001 * value for value in range(1, 101)], 0.99) == pytest.approx(99.0)
    assert quantile_ms([0.002], 0.5) == pytest.approx(2.0)
    assert quantile_ms([], 0.5) != quantile_ms([], 0.5), "not a number"


def figures(name: str, rate: float, p50: float, p99: float = 10.0) -> Measured:
    loop = {"rate": rate, "failed": 0, "p50_ms": p50, "p99_ms": p99, "max_ms": p99, "behind_p99_ms": 0.1}
    return Measured(name=name, closed={**loop, "cpu_ms": 1.0, "generator_share": 0.2}, opened=loop, started_s=3.0)


def test_goals_are_judged_by_their_ratios() -> None:
    found = [
        figures(FEATURES, 700.0, 4.0, 21.0),
        figures(PLAIN, 1500.0, 1.6),
        figures(BARE, 2000.0, 1.0),
        figures(MLFLOW, 150.0, 6.0),
    ]
    assert [met for *_, met in goals(found)] == [True, False, False, True, False]
    ceiling = [{"rate": 9000.0, "generator_share": 0.9}]
    setting = Setting(
        command="c", rounds=1, warm_s=1.0, connections=4, rate=200.0, trees=9, seconds=60.0, ceiling=ceiling
    )
    text = report(found, setting)
    assert text.count("**no**") == 3
    for heading in ("The goals", "The load generator", "What misleads"):
        assert f"## {heading}\n" in text
    assert "{" not in text


def test_a_server_that_is_away_costs_what_was_asked_meanwhile(server: SimpleNamespace, tmp_path: Path) -> None:
    nobody = free_port()
    for where, answered in ((port(server), 20), (nobody, 0)):
        plan_ = Plan(port=where, rate=100.0, seconds=0.2, connections=4, rows=[{"amount": 1.0}], event_id="id")
        with (tmp_path / "asked.tsv").open("w", encoding="ascii") as out:
            asking = Asking(plan_, out)
            asking.run()
        found = read_asked(tmp_path / "asked.tsv")
        assert (asking.sent, asking.answered, len(found)) == (20, answered, 20)
        assert {one.outcome for one in found.values()} == ({"ok"} if answered else {"NoConnection"})
        if answered:
            assert found[event_id(5)].score == pytest.approx(5e-6)
            assert all(one.kept and one.ended >= one.due for one in found.values())


@pytest.mark.parametrize("seconds", [30.0, 120.0, 1800.0])
def test_every_fault_has_its_time(seconds: float) -> None:
    found = plan(seconds)
    assert {one.kind for one in found} == {KILLED, STORE_AWAY, REGISTRY_AWAY, RELEASED}
    assert [one.kind for one in found].count(KILLED) == 2
    assert max(one.at + one.seconds for one in found) <= seconds
    away = [(one.at, one.at + one.seconds) for one in found if one.kind == REGISTRY_AWAY]
    assert not [one for one in found if one.kind == RELEASED and any(a <= one.at <= b for a, b in away)]
    assert all(a[1] < b[0] for a, b in pairwise(away))


def run() -> Run:
    """A hundred seconds, one request a second, all well: killed at 20, the store away from 40 to 50, released at 70."""
    asked = {}
    for number in range(100):
        level = "cached" if 40 <= number < 52 else "live"
        version = "1" if number < 72 else "2"
        ok = Asked(float(number), number + 0.01, "ok", level, version, 0.5)
        asked[event_id(number)] = replace(ok, outcome="ConnectionResetError") if 20 <= number < 24 else ok
    injected = [
        Injected(kind=KILLED, began=20.0, ended=20.0, detail="77"),
        Injected(kind=STORE_AWAY, began=39.9, ended=50.5),
        Injected(kind=RELEASED, began=70.5, ended=70.5, detail="2"),
    ]
    return Run(
        asked=asked,
        landed=[(event, one.score) for event, one in asked.items() if one.ok],
        injected=injected,
        memory=[Sample(at=float(at), pid=1, mb=300.0) for at in range(100)],
        ended=100.0,
        commit_s=0.1,
        breaker_s=10.0,
        settle_s=30.0,
    )


def failed(run_: Run) -> list[str]:
    return [one.says for one in checks(run_) if one.passed is False]


def test_a_run_in_which_all_was_well_passes() -> None:
    found = checks(run())
    assert failed(run()) == []
    assert [one.says for one in found if one.passed is None] == [found[-1].says], "memory: too short a life"
    assert verdict(found) == "Passed, with 1 checks for which the run was too short."
    text = soak_report(run(), found, command="c", rate=1.0, minutes=1.6)
    assert "SIGKILL" in text
    assert "{" not in text


def test_an_answer_of_the_commit_window_may_be_lost_and_no_other() -> None:
    well = run()
    inside = replace(well.asked[event_id(19)], due=19.9, ended=19.95)
    near = replace(well, asked={**well.asked, event_id(19): inside}, landed=well.landed[:19] + well.landed[20:])
    assert failed(near) == []
    assert "and 1 of the commit window" in checks(near)[0].found
    far = replace(well, landed=well.landed[:30] + well.landed[31:])
    assert failed(far) == ["every answered event landed"]
    assert failed(replace(well, landed=[])) != []


@pytest.mark.parametrize(
    ("number", "change", "says"),
    [
        (60, {"outcome": "500"}, "no request failed but while a killed server was down"),
        (45, {"outcome": "504"}, "without the feature store every request was answered"),
        (60, {"kept": False}, "no answer said that the log did not take it"),
        (60, {"score": 0.7}, "with the score that was answered"),
        (90, {"version": "1"}, "a release is followed within 5 s"),
    ],
)
def test_whatever_goes_wrong_is_seen(number: int, change: dict[str, object], says: str) -> None:
    well = run()
    wrong = replace(well.asked[event_id(number)], **change)  # type: ignore[arg-type]
    assert says in failed(replace(well, asked={**well.asked, event_id(number): wrong}))


def test_a_row_that_landed_twice_is_seen() -> None:
    well = run()
    assert failed(replace(well, landed=[*well.landed, well.landed[0]])) == ["once"]


def test_memory_is_judged_after_the_caches_are_full() -> None:
    at = range(int(JUDGED_SECONDS) + 200)
    filling = [Sample(at=float(second), pid=1, mb=200.0 + min(second, 100)) for second in at]
    assert growth(filling, 100.0) == (300.0, 300.0)
    assert growth(filling[:200], 100.0) is None
    leaking = [Sample(at=float(second), pid=1, mb=200.0 + second) for second in at]
    assert failed(replace(run(), memory=leaking)) == ["memory does not grow by 5% once the caches are full"]


def test_memory_is_that_of_the_processes_that_stand_in_the_folder(tmp_path: Path) -> None:
    with MemoryWatch(tmp_path) as watch:
        time.sleep(0.01)
    assert watch.samples == []
    assert resident_mb(2**22 + 1) is None
    assert (resident_mb(1) or 1.0) > 0.0


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_short_soak_passes(tmp_path: Path) -> None:
    import typer
    from soak import main

    app = typer.Typer()
    app.command()(main)
    written = tmp_path / "soak.md"
    said = CliRunner().invoke(app, ["--minutes", "1", "--rate", "60", "--write", str(written)])
    assert said.exit_code == 0, said.output
    text = written.read_text(encoding="utf-8")
    assert "**Passed" in text
    assert "SIGKILL" in text


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_short_measurement_has_every_server(tmp_path: Path) -> None:
    import typer
    from serving import main

    app = typer.Typer()
    app.command()(main)
    written = tmp_path / "serving.md"
    said = CliRunner().invoke(
        app, ["--rounds", "1", "--seconds", "0.5", "--warm", "0.5", "--rate", "20", "--write", str(written)]
    )
    assert said.exit_code == 0, said.output
    text = written.read_text(encoding="utf-8")
    assert all(f"| {name} " in text for name in (FEATURES, PLAIN, BARE, MLFLOW))
