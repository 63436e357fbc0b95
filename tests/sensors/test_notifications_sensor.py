"""The sensor of the code location that sends what selfheal told people: once a tick, and it says what it did."""

from pathlib import Path

import dagster as dg
import pytest

from selfheal_assets.core.notification import Delivered
from selfheal_assets.sensors.notifications import notifications_sensor
from selfheal_assets.wiring import Services


def tick(services: Services) -> str:
    with dg.build_sensor_context(resources={"selfheal": services}) as context:
        data = notifications_sensor().evaluate_tick(context)
    assert not data.run_requests
    return str(data.skip_message)


def test_it_delivers_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services = Services(tmp_path)
    rounds = [Delivered(sent=2, waiting=1), Delivered(given_up=1)]
    monkeypatch.setattr(services.notifier, "deliver", lambda: rounds.pop(0))
    assert tick(services) == "2 notifications sent, 1 waiting, 0 given up"
    assert tick(services) == "0 notifications sent, 0 waiting, 1 given up"


def test_without_a_receiver_nothing_is_lost(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SELFHEAL_NOTIFY", "SELFHEAL_NOTIFY_FILE"):
        monkeypatch.delenv(name, raising=False)
    home.mkdir()
    services = Services(home)
    services.notifier.notify("payments", "title", "body")
    assert tick(services) == "0 notifications sent, 0 waiting, 0 given up"
    assert len((home / "notifications.jsonl").read_text().splitlines()) == 1
