"""The outbox and its delivery through apprise, to real HTTP receivers on this machine: well, dead, failing and slow."""

import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from selfheal_assets.adapters import notifications
from selfheal_assets.adapters.notification_state import load_state
from selfheal_assets.adapters.notifications import OutboxNotifier
from selfheal_assets.adapters.receivers import ReceiverList
from selfheal_assets.core.notification import MOST_TRIES, Delivered, Severity
from selfheal_assets.core.notification_limits import Limits
from selfheal_assets.ports import Notifier
from selfheal_assets.settings import settings_from_environment
from selfheal_assets.wiring import Services

# apprise's own use of the standard library, when it loads its plugins.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)


class HeldClock:
    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment


class Inbox(ThreadingHTTPServer):
    """A receiver: keeps what it took, and answers what `answer` says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.asked: list[dict[str, Any]] = []
        self.taken: list[dict[str, Any]] = []
        self.answer: Callable[[int], int] = lambda _asked: 200

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server_port}/"

    @property
    def ids(self) -> list[str]:
        return [taken["message"].split("Message ")[1].split(",")[0] for taken in self.taken]

    def handle_error(self, *_: Any) -> None:
        """A sender that lost patience closes the connection: what happens then is its own affair."""


class _Post(BaseHTTPRequestHandler):
    server: Inbox

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(sent)
        code = self.server.answer(len(self.server.asked))
        if code == 200:
            self.server.taken.append(sent)
        self.send_response(code)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def listening() -> Iterator[Inbox]:
    with Inbox() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with listening() as server:
        yield server


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def dead() -> str:
    """The URL of a port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"json://127.0.0.1:{taken.getsockname()[1]}/"


@pytest.fixture
def notifier(tmp_path: Path, clock: HeldClock) -> Callable[..., OutboxNotifier]:
    """A process's notifier over the home that all of a test share."""

    def build(*urls: str, **settings: Any) -> OutboxNotifier:
        receivers = ReceiverList({"SELFHEAL_NOTIFY": "\n".join(urls)})
        return OutboxNotifier(tmp_path, clock, receivers, chance=random.Random(0), **settings)

    return build


Build = Callable[..., OutboxNotifier]


def outbox(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / "notifications.jsonl").read_text().splitlines() if line]


class TestNotify:
    def test_writes_to_the_outbox_and_the_log_alone(
        self, notifier: Build, inbox: Inbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        teller: Notifier = notifier(inbox.url)
        teller.notify("payments", "retraining", "AUC fell", incident="i1", severity=Severity.FAILURE)
        (line,) = outbox(tmp_path)
        assert line.pop("id")
        assert line == {
            "at": "2026-01-10T12:00:00Z",
            "model": "payments",
            "title": "retraining",
            "body": "AUC fell",
            "incident": "i1",
            "severity": "failure",
        }
        assert [(r.levelname, r.getMessage()) for r in caplog.records] == [("ERROR", "payments: retraining. AUC fell")]
        assert inbox.asked == []

    def test_takes_milliseconds_however_dead_the_receivers(self, notifier: Build, dead: str) -> None:
        teller = notifier(dead)
        began = time.perf_counter()
        for n in range(20):
            teller.notify("payments", f"title {n}", "body")
        assert time.perf_counter() - began < 1

    def test_never_raises(self, clock: HeldClock, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        lost = OutboxNotifier(tmp_path / "missing", clock, ReceiverList({}))
        lost.notify("payments", "retraining", "AUC fell")
        assert "could not be written to" in caplog.text
        assert lost.deliver() == Delivered()

    def test_a_line_that_a_kill_cut_short_loses_only_itself(
        self, notifier: Build, inbox: Inbox, tmp_path: Path
    ) -> None:
        with (tmp_path / "notifications.jsonl").open("wb") as stream:
            stream.write(b'{"at": "2026-01-10T1')
        teller = notifier(inbox.url)
        assert teller.deliver() == Delivered()
        teller.notify("payments", "whole \ud800 line", "é")
        assert teller.deliver().sent == 1
        assert inbox.taken[0]["title"] == "[payments] whole ? line"

    def test_many_write_at_once(self, notifier: Build, tmp_path: Path) -> None:
        with ThreadPoolExecutor(8) as pool:
            for n in range(200):
                pool.submit(notifier().notify, "payments", f"title {n}", "x" * n * 20)
        assert {line["title"] for line in outbox(tmp_path)} == {f"title {n}" for n in range(200)}


class TestDeliver:
    def test_people_get_title_body_and_severity_once(self, notifier: Build, inbox: Inbox, tmp_path: Path) -> None:
        teller = notifier(inbox.url, dagster_url="http://dagster.example")
        teller.notify("payments", "rolled back", "version 3 again <b>", incident="i1", severity=Severity.SUCCESS)
        assert teller.deliver() == Delivered(sent=1)
        (taken,) = inbox.taken
        assert (taken["title"], taken["type"]) == ("[payments] rolled back", "success")
        assert taken["message"].startswith("version 3 again <b>")
        assert "selfheal incidents i1" in taken["message"]
        assert "http://dagster.example/assets/payments" in taken["message"]
        assert inbox.ids == [outbox(tmp_path)[0]["id"]]
        assert teller.deliver() == Delivered()
        assert notifier(inbox.url).deliver() == Delivered()
        assert len(inbox.asked) == 1

    def test_with_no_receiver_the_outbox_is_all(
        self, notifier: Build, inbox: Inbox, dead: str, clock: HeldClock, tmp_path: Path
    ) -> None:
        notifier().notify("payments", "retraining", "AUC fell")
        assert notifier().deliver() == Delivered()
        assert len(outbox(tmp_path)) == 1
        assert [path.name for path in tmp_path.glob("*.json*")] == ["notifications.jsonl"]
        # A process that is not told of the receivers takes nothing from those that are.
        assert notifier(dead, inbox.url).deliver() == Delivered(sent=1, waiting=1)
        clock.moment += HALF_HOUR
        assert notifier().deliver() == Delivered(waiting=1)

    def test_a_dead_receiver_holds_up_nobody(
        self, notifier: Build, inbox: Inbox, dead: str, clock: HeldClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        teller = notifier(dead, inbox.url)
        for n in range(5):
            teller.notify("payments", f"title {n}", "body")
        assert teller.deliver() == Delivered(sent=5, waiting=5)
        assert "could not be reached" in caplog.text
        clock.moment += HALF_HOUR
        teller.notify("payments", "title 6", "body")
        assert teller.deliver() == Delivered(sent=1, waiting=6)
        assert len(inbox.asked) == 6

    def test_fails_twice_and_is_tried_a_third_time(
        self, notifier: Build, inbox: Inbox, clock: HeldClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        inbox.answer = lambda asked: 500 if asked < 3 else 200
        teller = notifier(inbox.url)
        teller.notify("payments", "retraining", "AUC fell")
        assert teller.deliver() == Delivered(waiting=1)
        assert "it answered HTTP 500" in caplog.text
        clock.moment += timedelta(seconds=7)
        assert teller.deliver() == Delivered(waiting=1)
        assert len(inbox.asked) == 1, "the first delay is 7.5 to 15 seconds"
        clock.moment += timedelta(seconds=8)
        assert teller.deliver() == Delivered(waiting=1)
        clock.moment += timedelta(seconds=30)
        # The state on the disk is all that matters: another process goes on.
        assert notifier(inbox.url).deliver() == Delivered(sent=1)
        assert len(inbox.asked) == 3
        assert len({asked["message"] for asked in inbox.asked}) == 1

    def test_gives_up_after_the_last_try(
        self, notifier: Build, inbox: Inbox, clock: HeldClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        inbox.answer = lambda _asked: 400
        teller = notifier(inbox.url)
        teller.notify("payments", "retraining", "AUC fell")
        rounds = []
        for _ in range(MOST_TRIES + 3):
            rounds.append(teller.deliver())
            clock.moment += HALF_HOUR
        assert rounds[: MOST_TRIES - 1] == [Delivered(waiting=1)] * (MOST_TRIES - 1)
        assert rounds[MOST_TRIES - 1 :] == [Delivered(given_up=1), Delivered(), Delivered(), Delivered()]
        assert len(inbox.asked) == MOST_TRIES
        assert "(payments: retraining)" in caplog.text
        assert "is given up: it failed 12 times" in caplog.text
        (line,) = (tmp_path / "notifications.undelivered.jsonl").read_text().splitlines()
        assert json.loads(line)["id"] == outbox(tmp_path)[0]["id"]

    def test_a_message_that_is_refused_holds_up_no_other(self, notifier: Build, inbox: Inbox, clock: HeldClock) -> None:
        inbox.answer = lambda asked: 400 if "title 0" in inbox.asked[asked - 1]["title"] else 200
        teller = notifier(inbox.url)
        for n in range(3):
            teller.notify("payments", f"title {n}", "body")
        assert teller.deliver() == Delivered(waiting=3)
        clock.moment += timedelta(seconds=1)
        assert teller.deliver() == Delivered(sent=2, waiting=1)

    def test_failures_go_first(self, notifier: Build, inbox: Inbox) -> None:
        teller = notifier(inbox.url)
        teller.notify("payments", "watching", "body")
        teller.notify("payments", "escalated", "body", severity=Severity.FAILURE)
        teller.deliver()
        assert [taken["title"] for taken in inbox.taken] == ["[payments] escalated", "[payments] watching"]

    def test_a_slow_receiver_is_waited_for_only_so_long(self, notifier: Build, inbox: Inbox, clock: HeldClock) -> None:
        with listening() as slow:
            wake = threading.Event()
            slow.answer = lambda _asked: 200 * wake.wait(20)
            teller = notifier(f"{slow.url}?rto=30", inbox.url, round_s=0.5)
            for n in range(2):
                teller.notify("payments", f"title {n}", "body")
            threads = threading.active_count()
            for waiting in (2, 2, 2):
                began = time.perf_counter()
                assert teller.deliver().waiting == waiting
                assert time.perf_counter() - began < 2.5
                clock.moment += HALF_HOUR
            assert len(inbox.taken) == 2
            assert len(slow.asked) == 1, "a receiver that is still at work is not asked again"
            assert threading.active_count() <= threads + 2
            wake.set()
            while not slow.taken or teller._lanes.busy(next(iter(load_state(teller._saved).parcels[0].pending))):
                time.sleep(0.01)
            assert teller.deliver() == Delivered(sent=2), "the late answer counts, the other message follows"
            assert len(set(slow.ids)) == len(slow.ids) == 2

    def test_patience_is_seconds_unless_the_url_says_otherwise(
        self, notifier: Build, inbox: Inbox, clock: HeldClock
    ) -> None:
        inbox.answer = lambda _asked: time.sleep(0.4) or 200
        notifier().notify("payments", "retraining", "AUC fell")
        assert notifier(f"{inbox.url}?rto=0.1").deliver() == Delivered(waiting=1)
        clock.moment += HALF_HOUR
        # Another URL is another receiver: what waits for the old one is given up, not sent to someone else.
        notifier().notify("payments", "rolled back", "AUC fell")
        assert notifier(f"{inbox.url}?rto=2").deliver() == Delivered(sent=1, given_up=1)

    def test_a_burst_becomes_a_few_messages_and_one_summary(
        self, notifier: Build, inbox: Inbox, clock: HeldClock, tmp_path: Path
    ) -> None:
        teller = notifier(inbox.url, limits=Limits(per_hour=3))
        for n in range(50):
            teller.notify("payments", f"title {n}", "body")
            teller.notify("payments", "title 0", "body")
        teller.notify("payments", "escalated", "nothing helped", incident="i1", severity=Severity.FAILURE)
        assert teller.deliver() == Delivered(sent=4)
        clock.moment += timedelta(hours=1)
        assert teller.deliver() == Delivered(sent=1)
        assert teller.deliver() == Delivered()
        titles = [taken["title"].removeprefix("[payments] ") for taken in inbox.taken]
        assert titles == ["escalated", "title 0", "title 1", "title 2", "47 more held back"]
        assert len(outbox(tmp_path)) == 101

    def test_old_news_is_only_counted(self, notifier: Build, inbox: Inbox, clock: HeldClock) -> None:
        notifier().notify("payments", "retraining", "AUC fell")
        clock.moment += timedelta(days=3)
        assert notifier(inbox.url).deliver() == Delivered()
        clock.moment += timedelta(hours=1)
        assert notifier(inbox.url).deliver() == Delivered(sent=1)
        assert inbox.taken[0]["title"] == "[payments] 1 more held back"


class TestState:
    def test_an_outbox_that_was_put_away_begins_anew(self, notifier: Build, inbox: Inbox, tmp_path: Path) -> None:
        teller = notifier(inbox.url)
        teller.notify("payments", "a long title", "body")
        teller.deliver()
        (tmp_path / "notifications.jsonl").rename(tmp_path / "notifications-2026.jsonl")
        assert teller.deliver() == Delivered()
        teller.notify("payments", "short", "")
        assert teller.deliver() == Delivered(sent=1)

    def test_damage_is_reported_and_loses_no_message(
        self, notifier: Build, inbox: Inbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "notifications.state.json").write_text('{"offset": "far"}')
        (tmp_path / "notifications.jsonl").write_bytes(b'{"model": "of another version"}\n\xff\xfe\n\n')
        teller = notifier(inbox.url)
        teller.notify("payments", "retraining", "AUC fell")
        assert teller.deliver() == Delivered(sent=1)
        assert "does not hold the state of deliveries" in caplog.text
        assert "2 lines of" in caplog.text

    def test_on_a_full_disk_nothing_is_sent_again_and_again(
        self, notifier: Build, inbox: Inbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        teller = notifier(inbox.url)
        teller.notify("payments", "retraining", "AUC fell")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(notifications, "save_state", full)
            assert teller.deliver() == Delivered()
        assert "No space left on device" in caplog.text
        assert inbox.asked == []
        assert teller.deliver() == Delivered(sent=1)


SENDER = """
import sys
from pathlib import Path
from selfheal_assets.adapters.clocks import SystemClock
from selfheal_assets.adapters.notifications import OutboxNotifier
from selfheal_assets.adapters.receivers import ReceiverList

teller = OutboxNotifier(Path(sys.argv[1]), SystemClock(), ReceiverList({"SELFHEAL_NOTIFY": sys.argv[2]}), round_s=20)
print("ready", flush=True)
sys.stdin.readline()
while teller.deliver().waiting:
    pass
"""


def start_sender(home: Path, url: str) -> "subprocess.Popen[str]":
    """Another process that delivers when told to, until nothing waits."""
    command = [sys.executable, "-c", SENDER, str(home), url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def tell_to_go(processes: Sequence["subprocess.Popen[str]"]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def end(process: "subprocess.Popen[str]") -> None:
    process.communicate(timeout=30)


class TestProcesses:
    def test_two_at_once_send_each_message_once(
        self, notifier: Build, inbox: Inbox, clock: HeldClock, tmp_path: Path
    ) -> None:
        clock.moment = datetime.now(UTC)
        for n in range(20):
            notifier().notify("payments", f"title {n}", "body")
        with listening() as other:
            senders = [start_sender(tmp_path, f"{inbox.url} {other.url}") for _ in range(2)]
            tell_to_go(senders)
            for sender in senders:
                end(sender)
            assert [sender.returncode for sender in senders] == [0, 0]
            told = {line["id"]: 1 for line in outbox(tmp_path)}
            assert Counter(inbox.ids) == Counter(other.ids) == Counter(told)

    def test_the_one_that_comes_second_does_not_wait(self, notifier: Build, inbox: Inbox) -> None:
        wake = threading.Event()
        inbox.answer = lambda _asked: 200 * wake.wait(20)
        first = notifier(inbox.url)
        first.notify("payments", "retraining", "AUC fell")
        with ThreadPoolExecutor(1) as pool:
            at_work = pool.submit(first.deliver)
            while not inbox.asked:
                time.sleep(0.01)
            began = time.perf_counter()
            assert notifier(inbox.url).deliver() == Delivered(waiting=1)
            assert time.perf_counter() - began < 0.5
            wake.set()
            assert at_work.result() == Delivered(sent=1)

    def test_killed_in_the_sending_the_next_goes_on(
        self, notifier: Build, inbox: Inbox, clock: HeldClock, tmp_path: Path
    ) -> None:
        """What was taken is not sent again; what was under way is, with the same id."""
        wake = threading.Event()
        inbox.answer = lambda asked: 200 if asked != 2 else 200 * wake.wait(20)
        clock.moment = datetime.now(UTC)
        for n in range(3):
            notifier().notify("payments", f"title {n}", "body")
        sender = start_sender(tmp_path, f"{inbox.url}?rto=30")
        tell_to_go([sender])
        while len(inbox.asked) < 2:
            time.sleep(0.01)
        sender.send_signal(signal.SIGKILL)
        end(sender)
        wake.set()
        clock.moment += timedelta(seconds=20)
        assert notifier(f"{inbox.url}?rto=30").deliver() == Delivered(sent=2)
        told = [line["id"] for line in outbox(tmp_path)]
        assert [asked["title"][-1] for asked in inbox.asked] == ["0", "1", "1", "2"]
        assert set(inbox.ids) == set(told)


class TestReceivers:
    def test_come_from_the_environment_and_from_a_file(
        self, inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with listening() as other:
            secrets = tmp_path / "receivers"
            secrets.write_text(f"# the team's channel\n\n  {other.url}\n{inbox.url}\n")
            monkeypatch.setenv("SELFHEAL_NOTIFY", f" {inbox.url}\n{inbox.url} ")
            monkeypatch.setenv("SELFHEAL_NOTIFY_FILE", str(secrets))
            monkeypatch.setenv("SELFHEAL_DAGSTER_URL", "http://dagster.example")
            home = tmp_path / "home"
            home.mkdir()
            services = Services(home, settings=settings_from_environment())
            services.notifier.notify("payments", "retraining", "AUC fell")
            assert services.notifier.deliver() == Delivered(sent=2), "the same URL twice is one receiver"
            assert "http://dagster.example/assets/payments" in other.taken[0]["message"]
            secrets.write_text("")
            services.notifier.notify("payments", "rolled back", "AUC fell")
            assert services.notifier.deliver() == Delivered(sent=1), "a changed file counts at once"

    def test_what_cannot_be_used_keeps_messages_waiting(
        self, inbox: Inbox, clock: HeldClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        secrets = tmp_path / "receivers"
        teller = OutboxNotifier(tmp_path, clock, ReceiverList({"SELFHEAL_NOTIFY_FILE": str(secrets)}))
        teller.notify("payments", "retraining", "AUC fell")
        for _ in range(3):
            assert teller.deliver() == Delivered()
        assert caplog.text.count("SELFHEAL_NOTIFY_FILE must name a readable file") == 1
        assert str(secrets) in caplog.text
        secrets.write_text("slakc://nobody\n")
        for _ in range(3):
            assert teller.deliver() == Delivered()
        assert caplog.text.count("line 1 of SELFHEAL_NOTIFY_FILE: A receiver must be a URL that apprise") == 1
        secrets.write_text(f"slakc://nobody\n{inbox.url}\n")
        assert teller.deliver() == Delivered(sent=1)


SECRETS = ("hunter2-hunter2", "Zm9vYmFy", "s3cr3t-path", "s3cr3t-header", "s3cr3t-query")


def secret_urls(inbox: Inbox, dead: str) -> list[str]:
    user, path_, rest = "Zm9vYmFy:hunter2-hunter2", "s3cr3t-path", "?+X-Key=s3cr3t-header&-token=s3cr3t-query"
    return [
        f"json://{user}@127.0.0.1:{inbox.server_port}/{path_}{rest}",
        f"{dead.replace('//', f'//{user}@')}{path_}{rest}",
        f"nonsense://{user}@host/{path_}{rest}",
        f"slack://{path_}/s3cr3t-query",
        f"mailto://{user}@[::bad/{path_}",
        f"{user}/{path_}",
    ]


class TestSecrets:
    @pytest.mark.parametrize("code", [200, 500])
    def test_no_url_shows_anywhere(
        self, clock: HeldClock, inbox: Inbox, dead: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, code: int
    ) -> None:
        caplog.set_level(logging.DEBUG)
        inbox.answer = lambda _asked: code
        receivers = ReceiverList({"SELFHEAL_NOTIFY": "\n".join(secret_urls(inbox, dead))})
        teller = OutboxNotifier(tmp_path, clock, receivers)
        teller.notify("payments", "retraining", "AUC fell")
        assert teller.deliver() == Delivered(sent=int(code == 200), waiting=1 + (code == 500))
        clock.moment += HALF_HOUR * 2 * MOST_TRIES
        teller.deliver()
        shown = [caplog.text, repr(receivers), repr(teller), repr(receivers.current()), str(receivers.current())]
        files = [path.read_text() for path in tmp_path.iterdir()]
        assert len(files) >= 2
        assert not [secret for secret in SECRETS for text in [*shown, *files] if secret in text]
        assert caplog.text.count("A receiver must be a URL that apprise understands") == 4
        assert len(inbox.asked) >= 1

    def test_other_threads_may_still_log(self, caplog: pytest.LogCaptureFixture, inbox: Inbox) -> None:
        caplog.set_level(logging.DEBUG, logger="urllib3.connectionpool")
        assert ReceiverList({"SELFHEAL_NOTIFY": inbox.url}).current()
        logging.getLogger("urllib3.connectionpool").debug("of somebody else")
        assert "of somebody else" in caplog.text

    def test_a_url_in_the_place_of_the_file_is_not_shown(
        self, clock: HeldClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        receivers = ReceiverList({"SELFHEAL_NOTIFY_FILE": "slack://s3cr3t-path/x"})
        teller = OutboxNotifier(tmp_path, clock, receivers)
        teller.notify("payments", "retraining", "AUC fell")
        teller.deliver()
        assert "received a URL" in caplog.text
        assert "s3cr3t" not in caplog.text


def test_apprise_is_not_loaded_to_notify(tmp_path: Path) -> None:
    """Sensors and runs notify; only the delivery pays for apprise."""
    code = (
        "import sys; from pathlib import Path; from selfheal_assets.wiring import Services\n"
        "teller = Services(Path(sys.argv[1])).notifier\n"
        "teller.notify('m', 't', 'b'); teller.deliver(); print('apprise' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SELFHEAL_")}
    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60)
    assert ended.stdout.strip() == "False"
