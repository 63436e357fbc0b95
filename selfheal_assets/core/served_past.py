"""Remember what the champion served in the last minutes: looks at servers in, sums over times out. Never judges it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from selfheal_assets.core.served_counts import Business, Served, served_of
from selfheal_assets.core.server_reading import ServerReading, ServingStatus
from selfheal_assets.core.serving_spec import ServingSpec

SPANS = 12
"""So many spans are kept of the time that is remembered, and one or two besides."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """What all servers served between two looks, under one champion."""

    version: str
    begins: datetime
    ends: datetime
    served: Served


@dataclass(frozen=True, kw_only=True)
class ServedPast:
    """Counts of the last look, to count from; and the last while in spans, oldest first, without a gap."""

    at: datetime | None = None
    version: str | None = None
    """The champion at the last look."""
    processes: Mapping[str, Served] = field(default_factory=dict)
    """What each process had counted of it."""
    scored: tuple[Span, ...] = ()
    """Twice `serving.score_minutes`."""
    posted: tuple[Span, ...] = ()
    """Twice `serving.business_minutes`: the values before a promotion, until nobody asks for those after it."""

    def with_look(self, spec: ServingSpec, status: ServingStatus, now: datetime, version: str | None) -> "ServedPast":
        """With what was served since the last look. Under another champion the counting begins with this look.

        A look that is not newer begins everything anew: the clock was set back.
        """
        later = self.at is not None and self.at < now
        known = self.processes if later and version == self.version else {}
        past = self if later else ServedPast()
        counted = {
            reading.key: (_before(reading, known, past.at), _told(reading, version)) for reading in status.servers
        }
        processes = {key: last for key, (before, told) in counted.items() if (last := told or before) is not None}
        scored, posted = past.scored, past.posted
        if not status.servers and not any(any(span.served.numbers()) for span in (*scored, *posted)):
            scored, posted = (), ()  # Where no server is, none has anything to remember.
        elif past.at is not None and version is not None:
            served = sum((_since(*pair) for pair in counted.values()), Served())
            new = Span(version=version, begins=past.at, ends=now, served=replace(served, business=Business()))
            scored = _grown(scored, new, timedelta(minutes=2 * spec.score_minutes))
            new = replace(new, served=Served(business=served.business))
            posted = _grown(posted, new, timedelta(minutes=2 * spec.business_minutes))
        return ServedPast(at=now, version=version, processes=processes, scored=scored, posted=posted)

    def scored_between(self, version: str, begin: datetime, end: datetime) -> Served:
        """Of the spans that begin in that time."""
        return _sum(self.scored, version, begin, end)

    def scored_since(self, version: str, begin: datetime) -> bool:
        """Whether the whole time since then is remembered, and that version was the champion in all of it."""
        return bool(self.scored) and self.scored[0].begins <= begin and {s.version for s in self.scored} == {version}

    def posted_between(self, version: str, begin: datetime, end: datetime) -> Business:
        """Of the spans that begin in that time."""
        return _sum(self.posted, version, begin, end).business


def _told(reading: ServerReading, version: str | None) -> Served | None:
    return served_of(reading.samples, version) if reading.samples is not None and version is not None else None


def _before(reading: ServerReading, known: Mapping[str, Served], at: datetime | None) -> Served | None:
    """What the process had counted at the last look; None where that is not known."""
    began_since = at is not None and reading.started >= at
    return known.get(reading.key, Served() if began_since else None)


def _since(before: Served | None, told: Served | None) -> Served:
    """A worker process that began anew makes the difference negative: what came before is not known any more."""
    if before is None or told is None:
        return Served()
    since = told - before
    return Served() if since.began_anew else since


def _grown(spans: tuple[Span, ...], new: Span, kept: timedelta) -> tuple[Span, ...]:
    """The last span grows until it is long enough; one that begins before the time that is kept stays."""
    last = spans[-1] if spans else None
    if last and last.version == new.version and last.ends - last.begins < kept / SPANS:
        spans = spans[:-1]
        new = replace(new, begins=last.begins, served=last.served + new.served)
    spans = (*spans, new)
    old = [place for place, span in enumerate(spans) if span.begins <= new.ends - kept]
    return spans[old[-1] if old else 0 :]


def _sum(spans: Sequence[Span], version: str, begin: datetime, end: datetime) -> Served:
    return sum((s.served for s in spans if s.version == version and begin <= s.begins < end), Served())


def to_document(past: ServedPast) -> dict[str, Any]:
    """As JSON can hold it."""
    return {
        "at": past.at.isoformat() if past.at else None,
        "version": past.version,
        "processes": {key: served.numbers() for key, served in past.processes.items()},
        "scored": [_stored(span) for span in past.scored],
        "posted": [_stored(span) for span in past.posted],
    }


def from_document(document: Any) -> ServedPast:
    """Read back what `to_document` made; whatever else it is, an empty past."""
    try:
        at = document["at"]
        return ServedPast(
            at=datetime.fromisoformat(at) if at is not None else None,
            version=document["version"],
            processes={key: Served.from_numbers(told) for key, told in document["processes"].items()},
            scored=tuple(_loaded(said) for said in document["scored"]),
            posted=tuple(_loaded(said) for said in document["posted"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        return ServedPast()


def _stored(span: Span) -> list[Any]:
    return [span.version, span.begins.isoformat(), span.ends.isoformat(), span.served.numbers()]


def _loaded(said: Sequence[Any]) -> Span:
    version, begins, ends, served = said
    begin, end = datetime.fromisoformat(begins), datetime.fromisoformat(ends)
    return Span(version=version, begins=begin, ends=end, served=Served.from_numbers(served))
