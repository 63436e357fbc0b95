"""What live traffic met in the demonstration, and the goals that it missed. Numbers in, words out; measures nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

ROLLED_BACK_GOAL_S, LAST_SERVER_GOAL_S = 30.0, 5.0
LIVE = "live"
WAY = ("SHADOW", "STEP", "BAKE", "PROMOTED")
"""Of the challenger that deserves it."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One challenger's way."""

    version: str
    states: Sequence[str]
    """Without repeats, in order."""
    verdict: str
    reason: str
    rows_answered: int
    """That it answered while it was on its way."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """How fast the bad release was taken back. Unit: seconds; None where it answered nobody."""

    first_to_last_s: float | None
    """From its first answer to its last one."""
    verdict_to_last_s: float | None
    """From the judge's verdict to its last answer, on whatever server."""


@dataclass(frozen=True, kw_only=True)
class StoreAway:
    """The time without a feature store."""

    seconds: float
    answered: int
    """Requests."""
    failed: int
    levels: Mapping[str, int]
    """Rows."""
    live_again_s: float | None
    """From its return to the first row with live features; None: never seen."""


@dataclass(frozen=True, kw_only=True)
class Killed:
    """The server's death."""

    pid: int
    successor: int | None
    silent_s: float
    """From the kill to the next answer."""
    failed: int
    """Requests that were under way, or sent, in that time and got no answer."""


@dataclass(frozen=True, kw_only=True)
class Logged:
    """The prediction log beside the answers. Unit: rows."""

    rows: int
    """Different events."""
    missing: int
    """Answered and not logged, but for those of the commit window before the kill."""
    in_commit_window: int
    """Answered in that window and not logged: what a SIGKILL may cost."""
    unanswered: int
    """Logged, and the answer did not reach its client: at work at the kill."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """All of it."""

    requests: int
    """Answered."""
    failed: int
    tried_again: int
    """Tries that came to nothing, of requests that were answered on a later one."""
    rows: int
    levels: Mapping[str, int]
    good: Release
    bad: Release
    taken: Taken
    store: StoreAway
    killed: Killed
    logged: Logged
    incidents: Mapping[str, Sequence[str]]
    """States of the incidents of servers, feature store and release, by cause."""
    champion: str
    """Who answers in the end."""

    def failures(self) -> list[str]:
        """Every goal of correctness that was missed."""
        outside = self.failed - self.killed.failed
        resolved = {
            cause: bool(states) and set(states) == {"RESOLVED"}
            for cause, states in self.incidents.items()
            if cause != "bad_release"
        }
        goals = {
            f"no request fails outside the killed second: {outside} of {self.requests + self.failed} did": outside == 0,
            f"the better challenger goes {' -> '.join(WAY)}: {' -> '.join(self.good.states)}": (
                tuple(self.good.states) == WAY
            ),
            f"the judge takes the bad release back: {self.bad.states[-1]}, {self.bad.verdict}": (
                self.bad.states[-1] == "ABORTED" and self.bad.verdict == "FAIL"
            ),
            f"the bad release is an incident that was rolled back: {self.incidents['bad_release']}": (
                list(self.incidents["bad_release"]) == ["ROLLED_BACK"]
            ),
            f"version {self.good.version} answers in the end: {self.champion} does": self.champion == self.good.version,
            f"without a feature store every request is answered: {self.store.failed} failed": (
                self.store.answered > 0 and self.store.failed == 0
            ),
            "live features come back with the store": self.store.live_again_s is not None,
            "a new process takes the killed one's place": self.killed.successor not in (None, self.killed.pid),
            f"every answer is in the log: {self.logged.missing} of {self.rows} are not": self.logged.missing == 0,
            **{f"the {cause} is healed": met for cause, met in resolved.items()},
        }
        return [text for text, met in goals.items() if not met]

    @property
    def exposed(self) -> int:
        """Rows that the bad release answered."""
        return self.bad.rows_answered

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "exposed_to_bad": self.exposed,
            "goals_s": {"rolled_back": ROLLED_BACK_GOAL_S, "last_server_back": LAST_SERVER_GOAL_S},
        }
