"""Decide what follows a failed run: its errors, and how often it failed, in; when to try again, or the end, out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

MAX_ATTEMPTS = 3
"""What failed this often is given up, whatever it failed of."""
FIRST_DELAY = timedelta(seconds=30)
GROWTH = 4
LONGEST_DELAY = timedelta(minutes=15)

INSTANCE_ENDED = "Its process ended with the Dagster instance that ran it."
"""What `selfheal up` says of the runs that it finds unfinished."""

ErrorChain = Sequence[tuple[str, str]]
"""(class name, message) from the error that ended the run to its first cause; ("", message) where there is no class."""


class FailureClass(StrEnum):
    """What a run failed of."""

    OUT_OF_MEMORY = "out of memory"
    """Or killed as the kernel and Kubernetes kill what takes too much: by SIGKILL, exit code 137."""
    TRANSIENT = "transient"
    """A connection, a lock, a timeout, a disk that was full, a process that was ended; or nothing is known of it."""
    INTERRUPTED = "interrupted"
    """The whole Dagster instance ended. It is up again, or nobody would ask: there is nothing to wait for."""
    PERMANENT = "permanent"
    """The declaration, the data or the code: the same again would end in the same way."""


class NextStep(StrEnum):
    RETRY_LATER = "RETRY_LATER"
    RETRY_SMALLER = "RETRY_SMALLER"
    GIVE_UP = "GIVE_UP"


@dataclass(frozen=True, kw_only=True)
class NextTry:
    """What to do after a failure."""

    step: NextStep
    reason: str
    at: datetime | None = None
    """Not before; None when it is given up."""
    sample: int | None = None
    """How much the next run may work on at most, in the unit of `size`; None: all."""


_MEMORY_CLASSES = re.compile(r"Memory(Error|Exception)$")
_MEMORY_WORDS = re.compile(
    r"(?i:out of memory|bad_alloc|cannot allocate memory|unable to allocate|OOMKilled|exit(ed with)? code:? (137|-9)\b"
    r"|by signal 9\b|SIGKILL)|\bKilled\b"
)
_TRANSIENT_CLASSES = re.compile(
    r"^(Connection\w*|BrokenPipe|Timeout|\w*Timeout|\w+TimedOut|BlockingIO|Interrupted|MaxRetry|NewConnection"
    r"|EndpointConnection|Protocol|RemoteDisconnected|IncompleteRead|Deadlock\w*|SerializationFailure|LockNotAvailable"
    r"|ServiceUnavailable|TooManyRequests|AliasConflict|ChildProcessCrash|DagsterExecutionInterrupted"
    r"|DagsterUserCodeUnreachable|DagsterLaunchFailed|AdminShutdown|CannotConnectNow"
    r"|Busy(Loading)?)(Error|Exception|Expired)?$"
)
_TRANSIENT_WORDS = re.compile(
    r"(?i:is locked|could not obtain lock|lock timeout|deadlock detected|timed out|connection (refused|reset|aborted"
    r"|closed)|server closed the connection|terminating connection|connection already closed"
    r"|database system is (starting up|shutting down|in recovery)|slow ?down|temporarily unavailable"
    r"|temporary failure|no space left on device|quota exceeded|disk i/o error|disk is full"
    r"|too many (connections|open files|requests)|service unavailable|bad gateway|broken pipe"
    r"|interrupted unexpectedly|terminated by signal|unexpectedly exited|\bEvicted\b)"
)
_FRAMEWORK = frozenset({"", "DagsterExecutionStepExecutionError"})
"""Say that something failed, not of what."""


def classify(chain: ErrorChain) -> FailureClass:
    """The class of a failure. The gravest sign of the whole chain counts: an error that was translated keeps its cause.

    Without any error there is nothing that speaks against trying again: TRANSIENT.
    """
    if any(_MEMORY_CLASSES.search(name) or _MEMORY_WORDS.search(message) for name, message in chain):
        return FailureClass.OUT_OF_MEMORY
    if any(INSTANCE_ENDED in message for _, message in chain):
        return FailureClass.INTERRUPTED
    if any(_TRANSIENT_CLASSES.search(name) or _TRANSIENT_WORDS.search(message) for name, message in chain):
        return FailureClass.TRANSIENT
    known = any(name not in _FRAMEWORK for name, _ in chain)
    return FailureClass.PERMANENT if known else FailureClass.TRANSIENT


def retry_after(attempt: int, draw: float) -> timedelta:
    """How long to wait after the failure of attempt 1, 2, ... before the next.

    Grows fourfold from FIRST_DELAY up to LONGEST_DELAY; `draw`, uniform in [0, 1), takes off up to half of it, so that
    what one outage stopped does not all come back in the same second (equal jitter: Brooker 2015, "Exponential Backoff
    And Jitter", AWS Architecture Blog).
    """
    grown: int = GROWTH ** min(max(attempt, 1) - 1, 16)
    return min(FIRST_DELAY * grown, LONGEST_DELAY) * (1 - draw / 2)


def next_try(
    kind: FailureClass,
    attempt: int,
    failed_at: datetime,
    draw: float,
    *,
    size: int | None = None,
    least: int = 1,
) -> NextTry:
    """What follows the failure of attempt 1, 2, ...; at the latest the MAX_ATTEMPTS-th is the last.

    `size` is how much the failed run worked on (rows, or batches), None for what cannot be made smaller; below `least`
    of it a run would be of no use.
    """
    if kind is FailureClass.PERMANENT:
        return NextTry(step=NextStep.GIVE_UP, reason="failed in a way that a repetition would not mend")
    if attempt >= MAX_ATTEMPTS:
        return NextTry(step=NextStep.GIVE_UP, reason=f"failed {attempt} times")
    if kind is FailureClass.INTERRUPTED:
        return NextTry(step=NextStep.RETRY_LATER, reason="ended with its Dagster instance", at=failed_at)
    at = failed_at + retry_after(attempt, draw)
    if kind is FailureClass.OUT_OF_MEMORY and size is not None and size // 2 >= least:
        reason = f"ran out of memory on {size}; the next run takes {size // 2} at most"
        return NextTry(step=NextStep.RETRY_SMALLER, reason=reason, at=at, sample=size // 2)
    # Killed from outside looks like it: where nothing can be made smaller, trying again is all there is.
    return NextTry(step=NextStep.RETRY_LATER, reason=f"failed ({kind})", at=at)
