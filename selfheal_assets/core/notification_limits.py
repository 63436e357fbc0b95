"""Limit what people are told: a message and what was sent lately in, send or not out. Never reads a clock."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from selfheal_assets.core.notification import Message, Severity

HOUR = timedelta(hours=1)


class Admission(StrEnum):
    SEND = "SEND"
    DUPLICATE = "DUPLICATE"
    """The same was sent a short while ago."""
    HELD_BACK = "HELD_BACK"
    """The hour's budget is spent, or the message is too old; it is counted in a summary."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much people are told at most. Failures have a budget of their own: noise cannot silence them."""

    dedupe_minutes: float = 60
    per_hour: int = 20
    """A model, of all that is not a failure, in any sixty minutes."""
    failures_per_hour: int = 20
    """A model, in any sixty minutes."""
    stale_hours: float = 24
    """Older messages are not sent on one by one: whoever reads them would take them for news."""

    def budget(self, urgent: bool) -> int:
        return self.failures_per_hour if urgent else self.per_hour


@dataclass(frozen=True, kw_only=True)
class Sent:
    model: str
    urgent: bool
    topic: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class HeldBack:
    """Messages of one budget that a summary will stand for."""

    model: str
    urgent: bool
    count: int
    since: datetime


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What was sent lately and what was held back: all that the next admission depends on."""

    sent: tuple[Sent, ...] = ()
    held: tuple[HeldBack, ...] = ()


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:16]


def topic(message: Message) -> str:
    """What two messages share when the second says nothing new.

    The incident and the title; without an incident the body as well, for then nothing else tells two episodes apart.
    A failure never counts as a repetition of something milder.
    """
    told = message.body if message.incident is None else ""
    return _digest(message.model, message.urgent, message.incident, message.title, told)


def admit(message: Message, traffic: Traffic, limits: Limits, now: datetime) -> tuple[Admission, Traffic]:
    """Whether to send the message now, and the traffic after that.

    Counted is the time of sending, not of saying: a backlog that comes at once is limited as well.
    """
    memory = max(HOUR, timedelta(minutes=limits.dedupe_minutes))
    # After the clock was put back, entries of the future would silence a model until they have passed.
    recent = [replace(sent, at=min(sent.at, now)) for sent in traffic.sent]
    recent = [sent for sent in recent if now - sent.at < memory]
    traffic = replace(traffic, sent=tuple(recent))
    if now - message.at > timedelta(hours=limits.stale_hours):
        return Admission.HELD_BACK, _hold_back(message, traffic, now)
    about = topic(message)
    window = timedelta(minutes=limits.dedupe_minutes)
    if any(sent.topic == about and now - sent.at < window for sent in recent):
        return Admission.DUPLICATE, traffic
    same = [sent for sent in recent if sent.model == message.model and sent.urgent == message.urgent]
    if sum(now - sent.at < HOUR for sent in same) >= limits.budget(message.urgent):
        return Admission.HELD_BACK, _hold_back(message, traffic, now)
    entry = Sent(model=message.model, urgent=message.urgent, topic=about, at=now)
    return Admission.SEND, replace(traffic, sent=(*recent, entry))


def _hold_back(message: Message, traffic: Traffic, now: datetime) -> Traffic:
    others = [h for h in traffic.held if (h.model, h.urgent) != (message.model, message.urgent)]
    counted = [h for h in traffic.held if h not in others]
    count = 1 + sum(h.count for h in counted)
    since = min([now, *(h.since for h in counted)])
    entry = HeldBack(model=message.model, urgent=message.urgent, count=count, since=since)
    return replace(traffic, held=(*others, entry))


def summaries_due(traffic: Traffic, now: datetime) -> bool:
    return any(now - held.since >= HOUR or held.since > now for held in traffic.held)


def summaries(traffic: Traffic, now: datetime) -> tuple[Sequence[Message], Traffic]:
    """One message for each budget that has held back for an hour, and the traffic that counts from nothing again.

    A summary is outside the budgets: there is at most one an hour for each. Its id follows from what it sums up, so
    that it is the same when a killed delivery makes it again.
    """
    due = [held for held in traffic.held if summaries_due(replace(traffic, held=(held,)), now)]
    kept = tuple(held for held in traffic.held if held not in due)
    return [_summary(held, now) for held in due], replace(traffic, held=kept)


def _summary(held: HeldBack, now: datetime) -> Message:
    what = "failures" if held.urgent else "messages"
    return Message(
        id=_digest(held.model, held.urgent, held.since.isoformat()),
        at=now,
        model=held.model,
        title=f"{held.count} more held back",
        body=f"{held.count} more {what} were held back since {held.since:%Y-%m-%d %H:%M} UTC: too many in an hour, or "
        "too old to be news. They are in notifications.jsonl in the home.",
        severity=Severity.FAILURE if held.urgent else Severity.WARNING,
    )
