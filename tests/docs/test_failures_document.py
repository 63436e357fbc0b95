"""The figures of docs/failures.md are the code's."""

import re

from selfheal_assets.core import failures, watch
from selfheal_assets.core.policy_spec import PolicySpec
from selfheal_assets.project import PROJECT
from selfheal_assets.sensors.watchdog import INTERVAL_S
from selfheal_assets.stages.identity import ROW_CAP_TAG

TEXT = " ".join((PROJECT / "docs" / "failures.md").read_text(encoding="utf-8").split())


def row(what: str) -> str:
    found = re.search(rf"\| {re.escape(what)} \| ([^|]*) \|", TEXT)
    assert found, what
    return found[1]


def test_the_waits() -> None:
    first, longest = failures.FIRST_DELAY.total_seconds(), failures.LONGEST_DELAY.total_seconds() / 60
    assert failures.GROWTH == 4
    assert f"about {first:.0f} seconds, then four times as long each time up to {longest:.0f} minutes" in TEXT
    assert f"What failed {failures.MAX_ATTEMPTS} times is given up" in TEXT
    assert f"`{ROW_CAP_TAG}`" in TEXT


def test_the_watchdog() -> None:
    assert watch.SILENT_INTERVALS == 10
    assert f"every {INTERVAL_S} seconds" in TEXT
    minutes = {
        "a sensor that stopped ticking": watch.SILENT_AFTER,
        "a run without a process": watch.DEAD_AFTER,
        "a run that waits for its process, or in the queue": watch.QUEUED_AFTER,
        "a decision that was let through, and no run": watch.NO_RUN_AFTER,
        "open batches, and no ingest at work": watch.UNTAKEN_AFTER,
    }
    for what, after in minutes.items():
        assert row(what).startswith(f"{after.total_seconds() / 60:.0f} minute"), what
    assert row("a sensor that keeps failing") == f"{watch.FAILING_TICKS} ticks in a row"
    named = set(re.findall(r"`policy\.(\w+)`", TEXT))
    assert named <= vars(PolicySpec()).keys()
