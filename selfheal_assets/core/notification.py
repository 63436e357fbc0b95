"""Word what people are told: a message in, a plain title and body out. Never sends anything."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import quote

LONGEST_TITLE = 120
LONGEST_BODY = 1_500
"""Characters; about what the strictest chat services show of one message without cutting it."""

MOST_TRIES = 12
"""With the delays below: between two and three hours, after which somebody has to look at the receiver."""
FIRST_DELAY = timedelta(seconds=15)
LONGEST_DELAY = timedelta(minutes=30)


class Severity(StrEnum):
    """How bad it is. FAILURE asks a person to act, and has an hourly budget of its own."""

    INFO = "info"
    WARNING = "warning"
    FAILURE = "failure"
    SUCCESS = "success"


@dataclass(frozen=True, kw_only=True)
class Message:
    """One line of the outbox."""

    id: str
    """The same in every try, so that a receiver can tell a repetition."""
    at: datetime
    """When it was said, UTC."""
    model: str
    title: str
    """What happened, in a few words."""
    body: str
    """What was done about it, and why."""
    incident: str | None = None
    severity: Severity = Severity.INFO

    @property
    def urgent(self) -> bool:
        return self.severity is Severity.FAILURE


@dataclass(frozen=True, kw_only=True)
class Wording:
    """What a receiver gets to see, plain text."""

    title: str
    body: str


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What one round of delivery came to, counted in pairs of a message and a receiver."""

    sent: int = 0
    waiting: int = 0
    """Still to be tried, now or later."""
    given_up: int = 0


def encodable(text: str) -> str:
    """The text with what UTF-8 cannot express (a lone surrogate) replaced by a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def compose(message: Message, dagster_url: str | None = None) -> Wording:
    """What happened to which model in the title; what was done and where to look in the body.

    A long body is cut, never what says where to look.
    """
    title = " ".join(f"[{message.model}] {message.title}".split())
    look = []
    if message.incident:
        look.append(f"Incident {message.incident}: selfheal incidents {message.incident}")
    if dagster_url:
        look.append(f"Dagster: {dagster_url.rstrip('/')}/assets/{quote(message.model, safe='')}?view=folder")
    look.append(f"Message {message.id}, {message.at:%Y-%m-%d %H:%M:%S} UTC")
    said = _shortened(message.body.strip(), LONGEST_BODY)
    return Wording(
        title=_shortened(encodable(title), LONGEST_TITLE),
        body=encodable("\n".join([said, "", *look] if said else look)),
    )


def retry_delay(tries: int, draw: float) -> timedelta:
    """How long to wait after the given number of tries (1 or more) before the next.

    Doubles from FIRST_DELAY up to LONGEST_DELAY; `draw`, uniform in [0, 1), takes off up to half of it, so that the
    senders which one outage stopped do not all come back in the same second (equal jitter: Brooker 2015, "Exponential
    Backoff And Jitter", AWS Architecture Blog).
    """
    # The exponent is bounded because a timedelta overflows long before an integer does.
    doubled: int = 2 ** min(tries - 1, 16)
    whole = min(FIRST_DELAY * doubled, LONGEST_DELAY)
    return whole * (1 - draw / 2)
