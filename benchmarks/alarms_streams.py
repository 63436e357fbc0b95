"""Run one stream: a scenario and a seed in; what alarmed, and when, out. Never adds streams up."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from alarms_baselines import ADWIN, EVIDENTLY, KS, AdwinOnError, EvidentlyOnFrames, corrected_alarm, ks_alarm
from alarms_home import Home, declared
from alarms_life import WINDOW, Healed, Life, Unlabelled
from alarms_scenarios import LATE, PAST_BATCHES, Scenario
from alarms_world import BATCH_ROWS, CATEGORICAL, NAMES, Drawn, Regime, draw

from selfheal_assets.core.causes import Action
from selfheal_assets.core.evidence import Evidence, Signal, Status
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.stages.drift_frames import compare_frames

STATIONARY = 1_000
"""Part of the seeds of streams in which nothing changes."""


@dataclass(frozen=True, kw_only=True)
class LifeResult:
    """What selfheal made of one stream with labels late by so many batches."""

    late: int
    heals: tuple[Healed, ...]
    incidents: dict[str, int]
    """How many were opened, by the cause that they have in the end."""
    batches: int
    largest_psi: float
    """The median of the changed batches' largest PSI."""


@dataclass(frozen=True, kw_only=True)
class ChangeResult:
    """One stream with a change."""

    place: int
    lives: dict[int, LifeResult]
    first_alarm: dict[str, int | None]
    """By baseline: the first changed batch with an alarm, from 0; None for none. A baseline that was not asked is not
    there."""


@dataclass(frozen=True, kw_only=True)
class StationaryResult:
    """One stream without a change; the marks are one a batch."""

    life: LifeResult
    marks: dict[str, list[bool]] = field(default_factory=dict)


def run_change(scenario: Scenario, seed: int, detector: str, evidently: EvidentlyOnFrames | None) -> ChangeResult:
    """Both lives on the same rows, each until it heals, and the baselines until they alarm."""
    spec, drawn = declared(CATEGORICAL, detector), _stream(scenario.place, seed, scenario.regime)
    memo: dict[tuple[str, str], Unlabelled] = {}
    lives = {late: _life_until_healed(spec, detector, scenario, drawn, late, memo) for late in LATE}
    return ChangeResult(
        place=scenario.place, lives=lives, first_alarm=_first_alarms(scenario, spec, detector, drawn, evidently)
    )


def run_stationary(
    seed: int, batches: int, detector: str, evidently: EvidentlyOnFrames, asked: int
) -> StationaryResult:
    """Labels in time; heals are carried out and life goes on. Evidently is asked about the first `asked` batches."""
    spec, drawn = declared(CATEGORICAL, detector), _stream(STATIONARY, seed, lambda _: Regime())
    reference = drawn(-1)
    life, adwin = Life(spec, Home(NAMES, detector), reference, 0), AdwinOnError()
    marks: dict[str, list[bool]] = {}
    for number in range(batches):
        batch = drawn(number)
        features = life.live(batch).features
        found = {
            KS: ks_alarm(features),
            ADWIN: adwin.alarm(batch),
            "corrected": corrected_alarm(features, spec.drift.p_threshold),
            **_marks(life.evidence[number]),
        }
        if number < asked and (said := evidently.alarm(reference, batch)) is not None:
            found[EVIDENTLY] = said
        for name, alarm in found.items():
            marks.setdefault(name, []).append(alarm)
    return StationaryResult(life=_result(life, batches, 0), marks=marks)


def _marks(evidence: Sequence[Evidence]) -> dict[str, bool]:
    """Of one batch with all its labels: which signals were raised, and whether the estimate's band held the metric."""
    by_signal = {one.signal: one for one in evidence}
    found = {str(signal): one.status is Status.RAISED for signal, one in by_signal.items()}
    estimated, realised = by_signal[Signal.ESTIMATED_PERFORMANCE], by_signal[Signal.PERFORMANCE]
    interval = estimated.details["interval"]
    if interval is not None and realised.value is not None:
        found["covered"] = bool(interval[0] <= realised.value <= interval[1])
    return found


def _stream(place: int, seed: int, regime: Callable[[int], Regime]) -> Callable[[int], Drawn]:
    """The batches by number, and under -1 the rows that the first champion was learned from; the same every time."""

    def drawn(number: int) -> Drawn:
        rng = np.random.default_rng([place, seed, number + 1])
        if number < 0:
            return draw(Regime(), rng, WINDOW * BATCH_ROWS)
        return draw(regime(number - PAST_BATCHES), rng)

    return drawn


def _life_until_healed(
    spec: ModelSpec,
    detector: str,
    scenario: Scenario,
    drawn: Callable[[int], Drawn],
    late: int,
    memo: dict[tuple[str, str], Unlabelled],
) -> LifeResult:
    life = Life(spec, Home(NAMES, detector), drawn(-1), late, memo)
    for number in range(PAST_BATCHES + scenario.batches + late):
        life.live(drawn(number))
        if any(heal.action != Action.REINSTATE for heal in life.heals):
            break
    return _result(life, number + 1, late)


def _result(life: Life, batches: int, late: int) -> LifeResult:
    psi = [
        one.value
        for number in range(PAST_BATCHES, batches)
        for one in life.evidence[number]
        if one.signal is Signal.DRIFT and one.value is not None
    ]
    return LifeResult(
        late=late,
        heals=tuple(heal for heal in life.heals if heal.action != Action.REINSTATE),
        incidents=dict(Counter(str(incident.cause) for incident in life.incidents())),
        batches=batches,
        largest_psi=float(np.median(psi)) if psi else float("nan"),
    )


def _first_alarms(
    scenario: Scenario,
    spec: ModelSpec,
    detector: str,
    drawn: Callable[[int], Drawn],
    evidently: EvidentlyOnFrames | None,
) -> dict[str, int | None]:
    reference, adwin = drawn(-1), AdwinOnError()
    for number in range(PAST_BATCHES):
        adwin.alarm(drawn(number))

    def ks(batch: Drawn) -> bool:
        tests = Home(NAMES, detector).detector(spec)
        return ks_alarm(compare_frames(spec, tests, reference.features, batch.features, {}).features)

    asked: dict[str, Callable[[Drawn], bool | None]] = {KS: ks, ADWIN: adwin.alarm}
    if evidently is not None and evidently.child is not None:
        asked[EVIDENTLY] = lambda batch: evidently.alarm(reference, batch)
    changed = [drawn(PAST_BATCHES + number) for number in range(scenario.batches)]
    return {
        name: next((number for number, batch in enumerate(changed) if alarm(batch)), None)
        for name, alarm in asked.items()
    }
