"""What is known of the servers of a model at one moment: counts, probes, deaths. Never asks a server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

LEVELS, LIVE = "selfheal_feature_rows_total", "live"
Key = TypeVar("Key")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One line of a server's metrics, in Prometheus' sense."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, kw_only=True)
class ServerCounts:
    """What one server process counted since it began."""

    ok: float = 0.0
    error: float = 0.0
    timeout: float = 0.0
    rejected: float = 0.0
    within: Mapping[float, float] = field(default_factory=dict)
    """Requests answered or tried, by the seconds within which they were: cumulative, up to infinity."""
    levels: Mapping[str, float] = field(default_factory=dict)
    """Rows by the level of their features."""

    @property
    def least(self) -> float:
        """The smallest count: negative only in a difference, where a counter began anew."""
        return min([self.ok, self.error, self.timeout, self.rejected, *self.within.values(), *self.levels.values()])

    def __add__(self, other: "ServerCounts") -> "ServerCounts":
        return self._with(other, 1.0)

    def __sub__(self, earlier: "ServerCounts") -> "ServerCounts":
        """What was counted since."""
        return self._with(earlier, -1.0)

    def _with(self, other: "ServerCounts", sign: float) -> "ServerCounts":
        return ServerCounts(
            ok=self.ok + sign * other.ok,
            error=self.error + sign * other.error,
            timeout=self.timeout + sign * other.timeout,
            rejected=self.rejected + sign * other.rejected,
            within=_merged(self.within, other.within, sign),
            levels=_merged(self.levels, other.levels, sign),
        )


def _merged(one: Mapping[Key, float], other: Mapping[Key, float], sign: float) -> dict[Key, float]:
    keys = dict.fromkeys([*one, *other])
    return {key: one.get(key, 0.0) + sign * other.get(key, 0.0) for key in keys}


def counts_of(samples: Sequence[Sample]) -> ServerCounts:
    """The counts of one server's metrics; what they do not have is 0."""
    outcomes, within, levels = dict[str, float](), dict[float, float](), dict[str, float]()
    for one in samples:
        if one.name == "selfheal_requests_total":
            outcomes[one.labels["outcome"]] = outcomes.get(one.labels["outcome"], 0.0) + one.value
        elif one.name == "selfheal_request_seconds_bucket":
            edge = float(one.labels["le"])
            within[edge] = within.get(edge, 0.0) + one.value
        elif one.name == LEVELS:
            levels[one.labels["level"]] = levels.get(one.labels["level"], 0.0) + one.value
    answered = {outcome: outcomes.get(outcome, 0.0) for outcome in ("ok", "error", "timeout", "rejected")}
    return ServerCounts(**answered, within=within, levels=levels)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How a server answered canned rows whose scores are known."""

    ok: bool
    level: str | None
    """Of the features of a canned entity."""
    milliseconds: float
    """By the server's own watch."""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class ServerReading:
    """One server, as it was when it was looked at."""

    url: str
    pid: int
    started: datetime
    samples: Sequence[Sample] | None = None
    """Its metrics; None: it did not answer."""
    ready: bool = False
    problems: tuple[str, ...] = ()
    """Why it is not ready, in its own words; or why it did not answer."""
    probe: Probe | None = None

    @property
    def answered(self) -> bool:
        return self.samples is not None

    @property
    def key(self) -> str:
        """The process, whatever its number was used for before."""
        return f"{self.pid}@{self.started.isoformat()}"

    def gauge(self, name: str) -> float:
        """The largest value of a metric; 0 where it was never set."""
        return max((one.value for one in self.samples or () if one.name == name), default=0.0)


@dataclass(frozen=True, kw_only=True)
class Death:
    """A server process that ended without being asked to."""

    pid: int
    at: datetime
    words: str


@dataclass(frozen=True, kw_only=True)
class ServingStatus:
    """The servers of one model."""

    servers: tuple[ServerReading, ...] = ()
    deaths: tuple[Death, ...] = ()
    """The last ones, oldest first."""
    wanted_since: datetime | None = None
    """Since when somebody sees to it that one runs; None: nobody does."""

    @property
    def any(self) -> bool:
        """Whether there is anything to say of them."""
        return bool(self.servers or self.deaths or self.wanted_since)
