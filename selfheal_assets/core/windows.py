"""Reduce a signal's recent evidence to one state: k of the last n batches. Never looks at another signal."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from selfheal_assets.core.evidence import Evidence, Signal, Status


class State(StrEnum):
    PERSISTENT = "PERSISTENT"
    """Raised in at least k of the last n batches, or shown by as many together."""
    RAISED = "RAISED"
    """Raised in some of the last n batches, fewer than k."""
    CLEAR = "CLEAR"
    """Raised in none of the last n, and the newest is clear."""
    UNKNOWN = "UNKNOWN"
    """Raised in none, and the newest is unknown or there is none."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The newest evidence of one signal, one statement a batch, oldest first."""

    signal: Signal
    evidence: tuple[Evidence, ...]
    k: int
    n: int
    together: tuple[Evidence, ...] = ()
    """Statements that show it as one, where not each does by itself; at least k."""

    @property
    def raised(self) -> tuple[Evidence, ...]:
        return tuple(e for e in self.evidence if e.status is Status.RAISED or e in self.together)

    @property
    def state(self) -> State:
        if self.raised:
            return State.PERSISTENT if len(self.raised) >= self.k else State.RAISED
        clear = self.evidence and self.evidence[-1].status is Status.CLEAR
        return State.CLEAR if clear else State.UNKNOWN

    def __str__(self) -> str:
        name = self.signal.replace("_", " ")
        if not self.evidence:
            return f"{name} not measured"
        if not self.raised:
            return f"{name} {self.evidence[-1].status.lower()} ({self.evidence[-1].reason})"
        by = "shown together by" if self.together else "raised in"
        counted = f"{by} {len(self.raised)} of the last {len(self.evidence)} statements (acted on from {self.k})"
        return f"{name} {counted}, last: {self.raised[-1].reason}"


def window(evidence: Iterable[Evidence], signal: Signal, *, k: int, n: int, without: Collection[str] = ()) -> Window:
    """The last n batches' statements about the signal, by event time; batches in `without` do not count.

    The evidence may be in any order; a batch that was measured again must stand with its last measurement alone.
    """
    found = [e for e in evidence if e.signal is signal and e.batch_id not in without]
    newest = sorted(found, key=lambda e: (e.event_time, e.batch_id))[-n:]
    return Window(signal=signal, evidence=tuple(newest), k=k, n=n)
