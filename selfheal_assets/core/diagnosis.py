"""Name the causes behind a model's current evidence, gravest first, with reasons. Never decides what to do."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from selfheal_assets.core.causes import Cause
from selfheal_assets.core.diagnosis_rules import RULES, Column, Derived, Rule
from selfheal_assets.core.evidence import OF_SERVERS, Evidence, Signal, Status
from selfheal_assets.core.joint_harm import harmed_together
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.onset import began_at
from selfheal_assets.core.windows import State, Window, window

LATEST = frozenset({Signal.QUALITY, Signal.VOLUME, Signal.FRESHNESS, Signal.TRAINING, Signal.RISK, *OF_SERVERS})
"""Signals whose newest statement alone counts: they look back by themselves, or are about one batch."""
TELLS_NOTHING = frozenset(
    {
        Signal.PERFORMANCE,
        Signal.ESTIMATED_PERFORMANCE,
        Signal.RISK,
        Signal.CONDITIONAL,
        Signal.PROMOTION,
        Signal.SERVED_SCORES,
        Derived.STRONG_DRIFT,
    }
)
"""Columns that are no fault by themselves, or are parts of another column."""
MOVED = frozenset({Signal.DRIFT, Signal.SCORE_DRIFT, Derived.STRONG_DRIFT})
NAMED_FEATURES = 5


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One cause that the evidence speaks for."""

    cause: Cause
    reason: str
    batch_ids: tuple[str, ...] = ()
    """The batches whose evidence carries it, oldest first."""
    newest_event: datetime | None = None
    """Of that evidence."""
    explained_by: Cause | None = None
    """A graver cause of the list that accounts for the same evidence: nothing more is to be done about this one."""
    features: tuple[str, ...] = ()
    """Which inputs carry the drift, by effect size times importance."""
    slices: tuple[str, ...] = ()
    """Where the metric fell most."""
    began_at: str | None = None
    """The batch at which it most likely began."""
    drop: float | None = None
    """How much the metric lost, in its own units; None while it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The evidence, reduced to the table's columns."""

    windows: Mapping[Column, Window]
    evidence: Sequence[Evidence]

    def state(self, column: Column) -> State:
        return self.windows[column].state

    def matches(self, rule: Rule) -> bool:
        return all(self.state(column) in states for column, states in rule.needs.items())

    def raised(self) -> list[Column]:
        return [column for column, found in self.windows.items() if found.raised and column not in TELLS_NOTHING]


def look(spec: ModelSpec, evidence: Sequence[Evidence], attended: Collection[str] = ()) -> Seen:
    """Reduce the evidence, in any order, which has one statement a signal and batch: the last.

    What is bound to a champion is about the present one. A batch that broke its checks counts for BAD_DATA only, unless
    all of the last n did: then the fault is the feed's usual state, and its clean rows are all there is to judge by. It
    counts until an incident has taken it in (`attended`), however many good ones have come since.
    """
    k, n = spec.drift.persistence_k, spec.drift.persistence_n
    believed = _believed(evidence, n)
    windows: dict[Column, Window] = {
        signal: window(evidence if signal in LATEST else believed, signal, **_extent(signal, k, n)) for signal in Signal
    }
    windows[Signal.QUALITY] = _quality(evidence, attended)
    windows[Derived.HARM] = _harm(spec, believed, windows[Signal.RISK])
    # A word on a release counts as long as the batch that it is about does.
    current = {e.batch_id for e in windows[Derived.HARM].evidence}
    of_current = [e for e in believed if e.batch_id in current]
    windows[Signal.RELEASE] = window(of_current, Signal.RELEASE, **_extent(Signal.RELEASE, k, n))
    strong = [e for e in windows[Signal.DRIFT].raised if (e.value or 0.0) >= spec.policy.strong_psi]
    windows[Derived.STRONG_DRIFT] = Window(signal=Signal.DRIFT, evidence=tuple(strong), k=k, n=n)
    return Seen(windows=windows, evidence=believed)


def diagnose(seen: Seen) -> tuple[Diagnosis, ...]:
    """Every cause that the table finds, gravest first; UNKNOWN or NONE alone where it finds none."""
    found: list[Diagnosis] = []
    explained: dict[Column, Cause] = {}
    for rule in RULES:
        if seen.matches(rule):
            cause = explained.get(rule.subject)
            if cause is not rule.cause:
                found.append(_diagnosis(rule, seen, cause))
            for column in rule.explains if cause is None else ():
                explained.setdefault(column, rule.cause)
    doubt = _doubt(seen, frozenset(explained))
    return (*found, doubt) if doubt else tuple(found) or (_nothing(seen),)


def _extent(signal: Signal, k: int, n: int) -> dict[str, Any]:
    if signal in LATEST:
        return {"k": 1, "n": 1}
    return {"k": 1 if signal is Signal.RELEASE else k, "n": n}


def _believed(evidence: Sequence[Evidence], n: int) -> list[Evidence]:
    """Without what was measured on batches that broke their checks, unless the last n all did."""
    quality = window(evidence, Signal.QUALITY, k=n, n=n)
    broken = {e.batch_id for e in evidence if e.signal is Signal.QUALITY and e.status is Status.RAISED}
    if quality.state is State.PERSISTENT and len(quality.evidence) == n:
        broken -= {e.batch_id for e in quality.evidence}
    return [e for e in evidence if e.batch_id not in broken or e.signal is Signal.QUALITY]


def _quality(evidence: Sequence[Evidence], attended: Collection[str]) -> Window:
    """The newest batch's, with those that no incident has taken in yet."""
    every = window(evidence, Signal.QUALITY, k=1, n=len(evidence) + 1)
    unattended = tuple(e for e in every.evidence[:-1] if e.status is Status.RAISED and e.batch_id not in attended)
    return Window(signal=Signal.QUALITY, evidence=(*unattended, *every.evidence[-1:]), k=1, n=1)


def _harm(spec: ModelSpec, evidence: Sequence[Evidence], risk: Window) -> Window:
    """Batch by batch realised performance, else estimated; but realised harm is not forgotten for newer batches whose
    labels have not come, and batches that are too small each may show it together."""
    k, n = spec.drift.persistence_k, spec.drift.persistence_n
    known = [e for e in evidence if e.signal is Signal.PERFORMANCE and e.status is not Status.UNKNOWN]
    estimated = {e.batch_id: e for e in evidence if e.signal is Signal.ESTIMATED_PERFORMANCE}
    doubtful = {e.batch_id: e for e in evidence if e.signal is Signal.PERFORMANCE}
    by_batch = {**doubtful, **estimated, **{e.batch_id: e for e in known}}
    newest = sorted(by_batch.values(), key=lambda e: (e.event_time, e.batch_id))[-n:]
    merged = Window(signal=Signal.PERFORMANCE, evidence=tuple(newest), k=k, n=n)
    realised = window(known, Signal.PERFORMANCE, k=k, n=n)
    realised = replace(realised, together=harmed_together(spec.performance.metric, realised))
    found = realised if len(realised.raised) > len(merged.raised) else merged
    if risk.state is State.PERSISTENT:
        return Window(signal=Signal.PERFORMANCE, evidence=(*found.evidence, *risk.raised), k=1, n=n)
    return found


def _diagnosis(rule: Rule, seen: Seen, explained_by: Cause | None) -> Diagnosis:
    raised = seen.windows[rule.subject].raised
    figures = "; ".join(str(seen.windows[column]) for column in rule.needs)
    return Diagnosis(
        cause=rule.cause,
        reason=f"{rule.why}: {figures}",
        **_behind(raised, seen),
        explained_by=explained_by,
        features=_features(seen.windows[Signal.DRIFT]) if MOVED & rule.needs.keys() else (),
        slices=_slices(seen.windows[Signal.PERFORMANCE]) if Derived.HARM in rule.needs else (),
        began_at=began_at(seen.evidence, seen.windows[rule.subject].signal),
        drop=_drop(seen.windows[Derived.HARM]) if Derived.HARM in rule.needs else None,
    )


def _doubt(seen: Seen, explained: frozenset[Column]) -> Diagnosis | None:
    """What is raised and explained by nothing."""
    raised = {column: seen.windows[column] for column in seen.raised() if column not in explained}
    if not raised:
        return None
    words = dict.fromkeys([*map(str, raised.values()), str(seen.windows[Derived.HARM])])
    return Diagnosis(
        cause=Cause.UNKNOWN,
        reason=f"no rule explains it yet: {'; '.join(words)}",
        **_behind([e for found in raised.values() for e in found.raised], seen),
        features=_features(seen.windows[Signal.DRIFT]),
    )


def _behind(raised: Sequence[Evidence], seen: Seen) -> dict[str, Any]:
    """The batches, dated by their data where that is known: some statements bear the time of the measurement."""
    dated = {e.batch_id: e.event_time for e in seen.evidence if e.signal not in LATEST}
    batches = {e.batch_id: dated.get(e.batch_id, e.event_time) for e in raised}
    return {
        "batch_ids": tuple(sorted(batches, key=lambda batch: (batches[batch], batch))),
        "newest_event": max(batches.values(), default=None),
    }


def _nothing(seen: Seen) -> Diagnosis:
    watched = (Signal.DRIFT, Derived.HARM)
    unknown = [str(seen.windows[column]) for column in watched if seen.state(column) is State.UNKNOWN]
    if unknown:
        return Diagnosis(cause=Cause.UNKNOWN, reason="; ".join(unknown))
    return Diagnosis(cause=Cause.NONE, reason="drift and performance are clear")


def _features(drift: Window) -> tuple[str, ...]:
    """Of the newest raised report: those that moved, by PSI times share of the champion's importance."""
    if not drift.raised:
        return ()
    moved = [f for f in drift.raised[-1].details.get("features", ()) if f["status"] == Status.RAISED]
    weights = {str(f["feature"]): _number(f["psi"]) * max(_number(f["importance"]), 1e-3) for f in moved}
    return tuple(sorted(weights, key=lambda name: (-weights[name], name))[:NAMED_FEATURES])


def _slices(performance: Window) -> tuple[str, ...]:
    if not performance.raised:
        return ()
    return tuple(str(s["slice"]) for s in performance.raised[-1].details.get("slices", ()))


def _drop(harm: Window) -> float | None:
    """The mean distance of the harmed batches' metric from the champion's own."""
    gaps = [
        abs(e.value - float(e.details["champion_metric"]))
        for e in harm.raised
        if e.value is not None and e.details.get("champion_metric") is not None
    ]
    return sum(gaps) / len(gaps) if gaps else None


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0
