"""What follows a failed run: classes by error, waits that grow and are bounded, and an end in every case."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.core.failures import (
    FIRST_DELAY,
    INSTANCE_ENDED,
    LONGEST_DELAY,
    MAX_ATTEMPTS,
    ErrorChain,
    FailureClass,
    NextStep,
    classify,
    next_try,
    retry_after,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEP = ("DagsterExecutionStepExecutionError", 'Error occurred while executing op "m__training_set":')
MEMORY, TRANSIENT = FailureClass.OUT_OF_MEMORY, FailureClass.TRANSIENT
PERMANENT, INTERRUPTED = FailureClass.PERMANENT, FailureClass.INTERRUPTED
CASES: list[tuple[str, ErrorChain, FailureClass]] = [
    ("memory", [STEP, ("MemoryError", "")], MEMORY),
    ("numpy", [STEP, ("_ArrayMemoryError", "Unable to allocate 7.45 GiB for an array with shape (1,)")], MEMORY),
    ("duckdb", [STEP, ("OutOfMemoryException", "Out of Memory Error: could not allocate block")], MEMORY),
    ("arrow", [STEP, ("ArrowMemoryError", "malloc of size 64 failed")], MEMORY),
    ("xgboost, translated", [STEP, ("TrainingError", "XGBoost must"), ("XGBoostError", "std::bad_alloc")], MEMORY),
    ("the system", [STEP, ("OSError", "[Errno 12] Cannot allocate memory")], MEMORY),
    ("kernel", [("", "Run execution process for x was terminated by signal 9 (SIGKILL). This usually")], MEMORY),
    ("pod", [("", "Discovered failed job: Terminated with exit code 137: OOMKilled")], MEMORY),
    ("exit code", [("", "GRPC server: Subprocess for x terminated unexpectedly with exit code -9")], MEMORY),
    ("shell", [("CalledProcessError", "Killed")], MEMORY),
    ("refused", [STEP, ("ConnectionRefusedError", "[Errno 111] Connection refused")], TRANSIENT),
    ("http", [STEP, ("ReadTimeout", "HTTPConnectionPool: Read timed out.")], TRANSIENT),
    ("sqlite", [STEP, ("OperationalError", "(sqlite3.OperationalError) database is locked")], TRANSIENT),
    ("ours, of sqlite", [STEP, ("LedgerError", "The ledger must take"), ("OperationalError", "is locked")], TRANSIENT),
    ("a lock file", [STEP, ("Timeout", "The file lock could not be acquired.")], TRANSIENT),
    ("disk", [STEP, ("OSError", "[Errno 28] No space left on device")], TRANSIENT),
    ("probe", [STEP, ("TrainingError", "must load"), ("TimeoutExpired", "timed out after 60 seconds")], TRANSIENT),
    ("terminated", [("", "Run execution process for x was terminated by signal 15 (SIGTERM).")], TRANSIENT),
    ("drained", [("DagsterExecutionInterruptedError", "")], TRANSIENT),
    ("launch", [("DagsterLaunchFailedError", "pods is forbidden")], TRANSIENT),
    ("overtaken", [STEP, ("AliasConflictError", "A candidate may only replace the champion")], TRANSIENT),
    ("postgres ends", [STEP, ("OperationalError", "terminating connection due to administrator command")], TRANSIENT),
    ("postgres starts", [STEP, ("OperationalError", "FATAL:  the database system is starting up")], TRANSIENT),
    ("postgres refuses", [STEP, ("OperationalError", "FATAL:  password authentication failed")], PERMANENT),
    ("redis starts", [STEP, ("FeatureError", "must succeed"), ("BusyLoadingError", "loading")], TRANSIENT),
    ("object store", [STEP, ("ServiceError", "must take"), ("EndpointConnectionError", "Could not")], TRANSIENT),
    ("its turn", [STEP, ("BusyError", "One process at a time may hold 'publish'")], TRANSIENT),
    ("nothing known", [], TRANSIENT),
    ("from outside", [("", "This run has been marked as failed from outside the execution context.")], TRANSIENT),
    ("a step's name alone", [STEP], TRANSIENT),
    ("instance", [("", INSTANCE_ENDED)], INTERRUPTED),
    ("declaration", [STEP, ("SpecError", "drift.persistence_k must be at most 3")], PERMANENT),
    ("data", [STEP, ("TrainingError", "A training set must have at least 1000 labelled rows")], PERMANENT),
    ("value", [STEP, ("ValueError", "could not convert string to float: 'abc'")], PERMANENT),
    ("missing file", [STEP, ("FileNotFoundError", "[Errno 2] No such file or directory: 'x'")], PERMANENT),
    ("schema", [STEP, ("OperationalError", "(sqlite3.OperationalError) no such table: records")], PERMANENT),
    ("gate", [("DagsterAssetCheckFailedError", "1 blocking asset check failed with ERROR severity")], PERMANENT),
]


@pytest.mark.parametrize(("chain", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_failure_is_classified_by_the_gravest_sign_of_its_chain(chain: ErrorChain, expected: FailureClass) -> None:
    assert classify(chain) is expected


@given(st.integers(-5, 10**6), st.floats(0, 1, exclude_max=True))
def test_waits_are_bounded_and_grow(attempt: int, draw: float) -> None:
    wait = retry_after(attempt, draw)
    assert FIRST_DELAY / 2 <= wait <= LONGEST_DELAY
    assert retry_after(attempt, 0.0) / 2 <= wait <= retry_after(attempt, 0.0)
    assert retry_after(attempt + 1, draw) >= wait


def test_waits_are_exponential() -> None:
    assert [retry_after(n, 0.0).total_seconds() for n in (1, 2, 3, 4)] == [30, 120, 480, 900]
    assert retry_after(1, 0.5) == timedelta(seconds=22.5)


@pytest.mark.parametrize(
    ("kind", "attempt", "size", "least", "step"),
    [
        (TRANSIENT, 1, 100, 1, NextStep.RETRY_LATER),
        (TRANSIENT, MAX_ATTEMPTS, 100, 1, NextStep.GIVE_UP),
        (PERMANENT, 1, 100, 1, NextStep.GIVE_UP),
        (INTERRUPTED, 1, 100, 1, NextStep.RETRY_LATER),
        (INTERRUPTED, MAX_ATTEMPTS, 100, 1, NextStep.GIVE_UP),
        (MEMORY, 1, 100, 50, NextStep.RETRY_SMALLER),
        (MEMORY, 1, 100, 51, NextStep.RETRY_LATER),
        (MEMORY, 1, 1, 1, NextStep.RETRY_LATER),
        (MEMORY, 1, None, 1, NextStep.RETRY_LATER),
        (MEMORY, MAX_ATTEMPTS, 100, 1, NextStep.GIVE_UP),
    ],
)
def test_what_follows(kind: FailureClass, attempt: int, size: int | None, least: int, step: NextStep) -> None:
    following = next_try(kind, attempt, NOW, 0.0, size=size, least=least)
    assert following.step is step
    assert (following.sample == 50) is (step is NextStep.RETRY_SMALLER)
    expected = NOW if kind is INTERRUPTED else NOW + retry_after(attempt, 0.0)
    assert following.at == (None if step is NextStep.GIVE_UP else expected)
    assert following.reason


failed = st.tuples(st.sampled_from(FailureClass), st.floats(0, 1, exclude_max=True))


@given(st.lists(failed, min_size=MAX_ATTEMPTS, max_size=30), st.integers(1, 10**6), st.integers(1, 10**4))
def test_no_sequence_of_failures_goes_on_for_ever(
    failures: list[tuple[FailureClass, float]], size: int, least: int
) -> None:
    now, runs, size_now = NOW, 0, size
    for attempt, (kind, draw) in enumerate(failures, 1):
        runs += 1
        following = next_try(kind, attempt, now, draw, size=size_now, least=least)
        if following.step is NextStep.GIVE_UP:
            assert following.at is None
            break
        assert following.at is not None
        assert now <= following.at <= now + LONGEST_DELAY
        if following.step is NextStep.RETRY_SMALLER:
            assert following.sample is not None
            assert least <= following.sample < size_now
            size_now = following.sample
        now = following.at
    else:
        pytest.fail("nothing ended it")
    assert runs <= MAX_ATTEMPTS
    assert now - NOW <= MAX_ATTEMPTS * LONGEST_DELAY
