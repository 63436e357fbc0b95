"""The cause behind evidence: a table of windows, and what holds for every window whatever its order."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.core.diagnosis import Cause, diagnose
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.model_spec import DataSpec, DriftSpec, FeaturesSpec, ModelSpec, PolicySpec

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STRONG = 0.5
CODES = {"C": Status.CLEAR, "R": Status.RAISED, "S": Status.RAISED, "U": Status.UNKNOWN}


def spec(k: int = 2, n: int = 3) -> ModelSpec:
    return ModelSpec(
        name="m",
        description="A model.",
        owners=("team:tests",),
        data=DataSpec(event_id="id", event_timestamp="at", label="y", entities=("account",)),
        features=FeaturesSpec(service="s"),
        drift=DriftSpec(persistence_k=k, persistence_n=n),
        policy=PolicySpec(strong_psi=STRONG),
    )


def measured(signal: Signal, status: Status, day: int, value: float | None = None) -> Evidence:
    return Evidence(
        model="m",
        signal=signal,
        status=status,
        batch_id=f"b{day}",
        champion_version="1",
        event_time=BEGIN + timedelta(days=day),
        value=value,
        threshold=None,
        sample_size=100,
        reason=f"{signal} is {status}",
    )


def history(drift: str, performance: str) -> list[Evidence]:
    """One letter a batch, oldest first: C clear, R raised, S strongly raised, U unknown, - not measured."""
    found = []
    for signal, letters in ((Signal.DRIFT, drift), (Signal.PERFORMANCE, performance)):
        for day, letter in enumerate(letters):
            if letter != "-":
                found.append(measured(signal, CODES[letter], day, {"S": STRONG, "R": 0.3}.get(letter)))
    return found


TABLE = [
    # drift, performance, cause, the batches blamed
    ("", "", Cause.UNKNOWN, []),
    ("C", "C", Cause.NONE, []),
    ("CCC", "CCC", Cause.NONE, []),
    ("C", "", Cause.UNKNOWN, []),
    ("", "C", Cause.UNKNOWN, []),
    ("U", "C", Cause.UNKNOWN, []),
    ("C", "U", Cause.UNKNOWN, []),
    ("RCC", "C", Cause.BENIGN_DRIFT, [0]),
    ("CCR", "CCC", Cause.BENIGN_DRIFT, [2]),
    ("RRR", "CCC", Cause.BENIGN_DRIFT, [0, 1, 2]),
    ("SSS", "CCC", Cause.BENIGN_DRIFT, [0, 1, 2]),
    ("RRR", "CCR", Cause.UNKNOWN, [2]),
    ("CCC", "CCR", Cause.UNKNOWN, [2]),
    ("CRR", "CRR", Cause.HARMFUL_DRIFT, [1, 2]),
    ("CRC", "RCR", Cause.HARMFUL_DRIFT, [0, 2]),
    ("RCCC", "CCRR", Cause.CONCEPT_DRIFT, [2, 3]),
    ("CCC", "CRR", Cause.CONCEPT_DRIFT, [1, 2]),
    ("", "RR", Cause.CONCEPT_DRIFT, [0, 1]),
    ("CCC", "RRU", Cause.CONCEPT_DRIFT, [0, 1]),
    ("CCC", "RUU", Cause.UNKNOWN, [0]),
    ("CSS", "", Cause.HARMFUL_DRIFT, [1, 2]),
    ("CRS", "UUU", Cause.HARMFUL_DRIFT, [1, 2]),
    ("CSS", "CCU", Cause.HARMFUL_DRIFT, [1, 2]),
    ("CCS", "UUU", Cause.UNKNOWN, [2]),
    ("CRR", "UUU", Cause.UNKNOWN, [1, 2]),
    ("RRR", "", Cause.UNKNOWN, [0, 1, 2]),
    # What is older than n batches does not count.
    ("SSCCC", "UUUUU", Cause.UNKNOWN, []),
    ("CCCCC", "RRCCC", Cause.NONE, []),
]


@pytest.mark.parametrize(("drift", "performance", "cause", "batches"), TABLE)
def test_the_table_of_windows(drift: str, performance: str, cause: Cause, batches: list[int]) -> None:
    found = diagnose(spec(), history(drift, performance))
    assert found.cause is cause, found.reason
    assert list(found.batch_ids) == [f"b{day}" for day in batches]
    assert found.reason


@pytest.mark.parametrize(
    ("k", "n", "cause"), [(1, 1, Cause.HARMFUL_DRIFT), (2, 4, Cause.HARMFUL_DRIFT), (3, 4, Cause.UNKNOWN)]
)
def test_persistence_is_as_declared(k: int, n: int, cause: Cause) -> None:
    assert diagnose(spec(k, n), history("CSCS", "UUUU")).cause is cause


def test_the_reasons_name_the_numbers() -> None:
    found = diagnose(spec(), history("CRS", "UUU"))
    assert "raised in 2 of the last 3 batches (acted on from 2)" in found.reason
    assert "PSI 0.50, at least the strong 0.50" in found.reason


@pytest.mark.parametrize("value", [None, float("nan"), 0.0])
def test_raised_without_a_strength_is_not_strong(value: float | None) -> None:
    """Missingness raises drift without a PSI: not a licence to retrain unseen."""
    evidence = [measured(Signal.DRIFT, Status.RAISED, day, value) for day in range(3)]
    assert diagnose(spec(), evidence).cause is Cause.UNKNOWN


@pytest.mark.parametrize("day", range(3))
def test_a_missing_strength_hides_no_other(day: int) -> None:
    values = [0.9 if place == day else float("nan") for place in range(3)]
    evidence = [measured(Signal.DRIFT, Status.RAISED, place, value) for place, value in enumerate(values)]
    assert diagnose(spec(), evidence).cause is Cause.HARMFUL_DRIFT


statuses = st.sampled_from(list(Status))
strengths = st.one_of(st.none(), st.floats(0.0, 2.0))


@st.composite
def evidences(draw: st.DrawFn) -> list[Evidence]:
    """One statement a batch and signal; several batches may share an event time."""
    found = []
    for signal in Signal:
        for batch in range(draw(st.integers(0, 5))):
            one = measured(signal, draw(statuses), batch, draw(strengths))
            moment = BEGIN + timedelta(days=draw(st.integers(0, 3)))
            found.append(Evidence(**{**vars(one), "event_time": moment}))
    return found


specs = st.tuples(st.integers(1, 4), st.integers(1, 4)).map(lambda pair: spec(min(pair), max(pair)))


@given(specs, evidences(), st.randoms(use_true_random=False))
def test_the_order_of_evidence_does_not_matter(model: ModelSpec, evidence: list[Evidence], random) -> None:
    shuffled = list(evidence)
    random.shuffle(shuffled)
    assert diagnose(model, shuffled) == diagnose(model, evidence)


@given(specs, evidences())
def test_no_doubt_is_called_clear(model: ModelSpec, evidence: list[Evidence]) -> None:
    found = diagnose(model, evidence)
    if found.cause is Cause.NONE:
        for signal in Signal:
            latest = max((e for e in evidence if e.signal is signal), key=lambda e: (e.event_time, e.batch_id))
            assert latest.status is Status.CLEAR
    if found.cause is Cause.BENIGN_DRIFT:
        assert any(e.signal is Signal.PERFORMANCE and e.status is Status.CLEAR for e in evidence)


@given(specs, evidences())
def test_the_batches_blamed_are_those_that_raised(model: ModelSpec, evidence: list[Evidence]) -> None:
    raised = {e.batch_id for e in evidence if e.status is Status.RAISED}
    found = diagnose(model, evidence)
    assert set(found.batch_ids) <= raised
    assert len(set(found.batch_ids)) == len(found.batch_ids) <= model.drift.persistence_n
    assert found.cause not in (Cause.BAD_DATA, Cause.NO_CHAMPION), "not for the evidence of a champion to say"


@given(specs, evidences())
def test_a_cause_to_heal_needs_persistence(model: ModelSpec, evidence: list[Evidence]) -> None:
    if diagnose(model, evidence).cause not in (Cause.HARMFUL_DRIFT, Cause.CONCEPT_DRIFT):
        return
    raised = [sum(e.signal is signal and e.status is Status.RAISED for e in evidence) for signal in Signal]
    assert max(raised) >= model.drift.persistence_k
