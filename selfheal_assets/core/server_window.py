"""Keep the last looks at the servers and tell what happened between them: readings in, counts out. Never judges."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from selfheal_assets.core.server_reading import Probe, ServerCounts, ServerReading, ServingStatus, counts_of

LOOKS_A_WINDOW = 12
"""So many looks at least span a window; of more, some are forgotten."""


@dataclass(frozen=True, kw_only=True)
class ServerLook:
    """One server at one look."""

    url: str
    pid: int
    started: datetime
    counts: ServerCounts | None
    """None: it did not answer."""
    ready: bool
    problems: tuple[str, ...]
    breaker_open: bool
    probe: Probe | None


@dataclass(frozen=True, kw_only=True)
class Look:
    """All servers of a model at one time."""

    at: datetime
    servers: Mapping[str, ServerLook]
    """By process."""


def look_at(status: ServingStatus, now: datetime) -> Look:
    """What of the servers is worth remembering."""
    return Look(at=now, servers={reading.key: _remembered(reading) for reading in status.servers})


def _remembered(reading: ServerReading) -> ServerLook:
    return ServerLook(
        url=reading.url,
        pid=reading.pid,
        started=reading.started,
        counts=counts_of(reading.samples) if reading.samples is not None else None,
        ready=reading.ready,
        problems=reading.problems,
        breaker_open=reading.gauge("selfheal_breaker_open") > 0,
        probe=reading.probe,
    )


@dataclass(frozen=True, kw_only=True)
class ServerWindow:
    """The looks of the last while, oldest first; the oldest may be older, to count from."""

    looks: tuple[Look, ...] = field(default_factory=tuple)
    begins: datetime | None = None
    """Probes of a look before this do not count any more; None: all do."""

    def with_look(self, look: Look, seconds: float) -> "ServerWindow":
        """With a further look; what is older than the window goes, but for the look that it is counted from.

        A look that is not newer begins the window anew: the clock was set back.
        """
        past = self.looks if not self.looks or self.looks[-1].at < look.at else ()
        if len(past) > 1 and look.at - past[-2].at < timedelta(seconds=seconds / LOOKS_A_WINDOW):
            past = past[:-1]
        begins = look.at - timedelta(seconds=seconds)
        older = [place for place, one in enumerate(past) if one.at <= begins]
        return ServerWindow(looks=(*past[older[-1] if older else 0 :], look), begins=begins)

    @property
    def newest(self) -> Look:
        return self.looks[-1]

    def counted(self) -> ServerCounts:
        """What all servers counted between the first look and the last, those that ended in between included."""
        total = ServerCounts()
        for key in dict.fromkeys(key for look in self.looks for key in look.servers):
            total = total + self.counted_by(key)
        return total

    def counted_by(self, key: str) -> ServerCounts:
        """The same, of one process. One that began after the first look counts from zero."""
        told = [look.servers[key] for look in self.looks if key in look.servers]
        counts = [one.counts for one in told if one.counts is not None]
        if not counts:
            return ServerCounts()
        if told[0].started >= self.looks[0].at:
            return counts[-1]
        since = counts[-1] - counts[0]
        # A worker process began anew: what came before is not known any more.
        return since if since.least >= 0 else counts[-1] - counts[-1]

    def probes(self, key: str | None = None) -> list[Probe]:
        """Of one process, or of all, oldest first."""
        looks = [look for look in self.looks if self.begins is None or look.at >= self.begins]
        found = [one.probe for look in looks for name, one in look.servers.items() if key in (None, name)]
        return [probe for probe in found if probe is not None]

    def silent_for(self, key: str) -> timedelta:
        """How long the process has not answered, as far as the looks go back."""
        since = self.newest.at
        for look in reversed(self.looks):
            if key not in look.servers or look.servers[key].counts is not None:
                break
            since = look.at
        return self.newest.at - since


def to_document(window: ServerWindow) -> list[dict[str, Any]]:
    """As JSON can hold it."""
    return [
        {
            "at": look.at.isoformat(),
            "servers": {key: _stored(one) for key, one in look.servers.items()},
        }
        for look in window.looks
    ]


def _stored(one: ServerLook) -> dict[str, Any]:
    counts, probe = one.counts, one.probe
    return {
        "url": one.url,
        "pid": one.pid,
        "started": one.started.isoformat(),
        "ready": one.ready,
        "problems": list(one.problems),
        "breaker_open": one.breaker_open,
        "probe": vars(probe) if probe else None,
        "counts": {
            "outcomes": [counts.ok, counts.error, counts.timeout, counts.rejected],
            "within": [[str(edge), number] for edge, number in counts.within.items()],
            "levels": dict(counts.levels),
        }
        if counts
        else None,
    }


def from_document(document: Any) -> ServerWindow:
    """Read back what `to_document` made; whatever else it is, an empty window."""
    try:
        looks = [
            Look(
                at=datetime.fromisoformat(one["at"]),
                servers={key: _loaded(said) for key, said in one["servers"].items()},
            )
            for one in document
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        return ServerWindow()
    return ServerWindow(looks=tuple(looks))


def _loaded(said: Mapping[str, Any]) -> ServerLook:
    counts = None
    if said["counts"] is not None:
        ok, error, timeout, rejected = said["counts"]["outcomes"]
        within = {float(edge): float(number) for edge, number in said["counts"]["within"]}
        levels = dict(said["counts"]["levels"])
        counts = ServerCounts(ok=ok, error=error, timeout=timeout, rejected=rejected, within=within, levels=levels)
    return ServerLook(
        url=said["url"],
        pid=said["pid"],
        started=datetime.fromisoformat(said["started"]),
        counts=counts,
        ready=said["ready"],
        problems=tuple(said["problems"]),
        breaker_open=said["breaker_open"],
        probe=Probe(**said["probe"]) if said["probe"] else None,
    )
