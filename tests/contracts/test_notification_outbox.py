"""How much of what was said is kept, and how much is told: rotation under writers, and limits from the environment."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from selfheal_assets.adapters.notification_outbox import MESSAGE, Kept, append_line, put_aside
from selfheal_assets.adapters.notification_settings import kept_from, limits_from
from selfheal_assets.adapters.notification_state import load_state
from selfheal_assets.adapters.notifications import OutboxNotifier
from selfheal_assets.adapters.receivers import ReceiverList
from selfheal_assets.core.notification_limits import Limits
from selfheal_assets.wiring import Services

# apprise's own use of the standard library, when it loads its plugins.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")

NAME = "notifications.jsonl"
SMALL = Kept(most_bytes=1_000, files=2)


class HeldClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 10, 12, tzinfo=UTC)


def titles(home: Path, *suffixes: str) -> list[str]:
    """In the files, in their order."""
    lines = [line for suffix in suffixes for line in (home / f"{NAME}{suffix}").read_text().splitlines()]
    return [MESSAGE.validate_json(line).title for line in lines]


def test_without_receivers_the_newest_files_are_kept_and_the_oldest_removed(tmp_path: Path) -> None:
    teller = OutboxNotifier(tmp_path, HeldClock(), ReceiverList({}), kept=SMALL)
    for number in range(21):
        teller.notify("payments", f"title {number}", "x" * 400)
        teller.deliver()
    assert sorted(path.name for path in tmp_path.glob(f"{NAME}*")) == [NAME, f"{NAME}.1", f"{NAME}.2"]
    kept = titles(tmp_path, ".2", ".1", "")
    assert kept == [f"title {number}" for number in range(21)][-len(kept) :], "the newest, none missing between them"
    assert load_state(tmp_path / "notifications.state.json").offset == 0


def test_what_a_receiver_has_still_to_get_is_not_put_aside(tmp_path: Path) -> None:
    outbox = tmp_path / NAME
    for number in range(5):
        append_line(outbox, f"{number}" * 400)
    size = outbox.stat().st_size
    assert not put_aside(outbox, SMALL, read_until=size - 1)
    assert put_aside(outbox, SMALL, read_until=size)
    assert not put_aside(outbox, SMALL, read_until=0), "there is none"
    append_line(outbox, "short")
    assert not put_aside(outbox, SMALL), "small"


def test_a_receiver_gets_every_message_once_while_files_are_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = list[str]()
    receivers = ReceiverList({"SELFHEAL_NOTIFY": "json://127.0.0.1:9/"})
    teller = OutboxNotifier(tmp_path, HeldClock(), receivers, limits=Limits(per_hour=99), kept=SMALL)
    monkeypatch.setattr(
        teller._lanes, "round", lambda work, _s: got.extend(e.message_id for es in work.values() for e in es) or []
    )
    said = list[str]()
    for number in range(10):
        teller.notify("payments", f"title {number}", "x" * 400)
        said += [MESSAGE.validate_json(line).id for line in (tmp_path / NAME).read_text().splitlines()[-1:]]
        teller.deliver()
    assert (tmp_path / f"{NAME}.1").exists()
    assert list(dict.fromkeys(got)) == said


def test_no_line_is_lost_to_writers_that_meet_a_rotation(tmp_path: Path) -> None:
    outbox, kept, written, done = tmp_path / NAME, Kept(most_bytes=200, files=50), 4 * 60, threading.Event()

    def write(writer: int) -> None:
        for number in range(60):
            append_line(outbox, f"{writer}-{number}")
            time.sleep(0.001)  # Writers without a pause leave no turn to what puts aside.

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    rotating = threading.Thread(target=lambda: [put_aside(outbox, kept) for _ in iter(done.is_set, True)])
    for thread in (rotating, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    rotating.join()
    lines = [line for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    assert (len(lines), len(set(lines))) == (written, written)
    assert len(list(tmp_path.iterdir())) > 2


def test_limits_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = {
        "DEDUPE_MINUTES": "5", "PER_HOUR": "0", "FAILURES_PER_HOUR": "3", "STALE_HOURS": "0.5",
        "OUTBOX_MB": "0.5", "OUTBOX_FILES": "2",
    }  # fmt: skip
    environment = {f"SELFHEAL_NOTIFY_{name}": value for name, value in declared.items()}
    limits = Limits(dedupe_minutes=5, per_hour=0, failures_per_hour=3, stale_hours=0.5)
    assert limits_from(environment) == limits
    assert kept_from(environment) == Kept(most_bytes=500_000, files=2)
    assert (limits_from({}), kept_from({})) == (Limits(), Kept())
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    notifier = Services(tmp_path).notifier
    assert isinstance(notifier, OutboxNotifier)
    assert (notifier._limits, notifier._kept) == (limits, Kept(most_bytes=500_000, files=2))


@pytest.mark.parametrize("said", ["many", "-1", "nan", "inf", "1.5", "0"])
def test_a_slip_in_a_limit_is_told_and_silences_nobody(said: str, caplog: pytest.LogCaptureFixture) -> None:
    assert limits_from({"SELFHEAL_NOTIFY_FAILURES_PER_HOUR": said}) == Limits()
    wanted = f"SELFHEAL_NOTIFY_FAILURES_PER_HOUR must be a whole number of at least 1; received {said!r}. 20 is used"
    assert wanted in caplog.text
