"""The decision table: which states of the signals are which cause. Rows in the order of gravity; holds no logic."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from selfheal_assets.core.causes import Cause
from selfheal_assets.core.evidence import Signal
from selfheal_assets.core.windows import State


class Derived(StrEnum):
    """Columns of the table that are made of signals."""

    HARM = "harm"
    """Performance batch by batch: realised where labels have matured, else estimated; PERSISTENT also when at least k
    realised batches in a row, each worse than allowed, prove it together by their pooled interval, and as soon as the
    sequential test on the risk alarms, which needs no further persistence."""
    STRONG_DRIFT = "strong_drift"
    """Drift of a PSI of at least `policy.strong_psi`."""


Column = Signal | Derived

RAISED = frozenset({State.RAISED, State.PERSISTENT})
PERSISTENT = frozenset({State.PERSISTENT})
CLEAR = frozenset({State.CLEAR})
UNKNOWN = frozenset({State.UNKNOWN})
NOT_RAISED = frozenset({State.CLEAR, State.UNKNOWN})


@dataclass(frozen=True)
class Rule:
    """`cause`, when every column is in one of its states. The first column is what the cause is about."""

    cause: Cause
    needs: Mapping[Column, frozenset[State]]
    explains: frozenset[Column]
    """What needs no further cause once this one stands."""
    why: str

    @property
    def subject(self) -> Column:
        return next(iter(self.needs))


_SERVED: frozenset[Column] = frozenset({Signal.SERVED_SCORES})
"""The scores of minutes say no more than a batch does, or a fault that explains them."""
_MOVED: frozenset[Column] = frozenset({Signal.DRIFT, Signal.SCORE_DRIFT, Derived.STRONG_DRIFT, *_SERVED})
_HARMED: frozenset[Column] = frozenset({Derived.HARM, Signal.RELEASE, *_SERVED})

RULES = (
    Rule(
        Cause.BAD_RELEASE,
        {Derived.HARM: RAISED, Signal.RELEASE: RAISED},
        _HARMED,
        "soon after its promotion the champion does worse than the previous one on the same rows",
    ),
    Rule(
        Cause.BAD_RELEASE,
        {Signal.RELEASE_FAULT: RAISED},
        frozenset({Signal.RELEASE_FAULT, Signal.ERRORS, Signal.TIMEOUTS, Signal.LATENCY, *_SERVED}),
        "requests began to fail, or to be late, with the promotion",
    ),
    Rule(
        Cause.BAD_RELEASE,
        {Signal.BUSINESS: RAISED},
        frozenset({Signal.BUSINESS, *_SERVED}),
        "the business metric fell with the promotion",
    ),
    Rule(Cause.SERVING_FAULT, {Signal.ERRORS: RAISED}, frozenset({Signal.ERRORS}), "the server fails to answer"),
    Rule(Cause.SERVING_FAULT, {Signal.TIMEOUTS: RAISED}, frozenset({Signal.TIMEOUTS}), "the server answers too late"),
    Rule(Cause.SERVING_FAULT, {Signal.LATENCY: RAISED}, frozenset({Signal.LATENCY}), "the server answers slowly"),
    Rule(
        Cause.FEATURE_STORE_FAULT,
        {Signal.FEATURE_STORE: RAISED},
        frozenset({Signal.FEATURE_STORE, *_SERVED}),
        "features do not come from the feature store",
    ),
    Rule(
        Cause.BAD_DATA,
        {Signal.QUALITY: RAISED},
        frozenset({Signal.QUALITY, *_SERVED}),
        "rows or labels broke checks of severity error; whatever else the batch shows is not believed",
    ),
    Rule(
        Cause.UPSTREAM_STALLED, {Signal.FRESHNESS: RAISED}, frozenset({Signal.FRESHNESS}), "no data of late is arriving"
    ),
    Rule(Cause.UPSTREAM_STALLED, {Signal.VOLUME: RAISED}, frozenset({Signal.VOLUME}), "too few rows are arriving"),
    Rule(
        Cause.PRIOR_SHIFT,
        {Signal.PRIOR: PERSISTENT, Signal.CONDITIONAL: CLEAR},
        frozenset({Signal.PRIOR, *_MOVED, *_HARMED}),
        "the share of label 1 moved, and within each label the features did not",
    ),
    Rule(
        Cause.HARMFUL_DRIFT,
        {Derived.HARM: PERSISTENT, Signal.DRIFT: RAISED},
        frozenset({*_HARMED, *_MOVED, Signal.PRIOR}),
        "the inputs moved, and the champion does worse",
    ),
    Rule(
        Cause.HARMFUL_DRIFT,
        {Derived.STRONG_DRIFT: PERSISTENT, Derived.HARM: UNKNOWN},
        _MOVED,
        "the inputs moved far, and nothing says yet what that does to the performance",
    ),
    Rule(
        Cause.CONCEPT_DRIFT,
        {Derived.HARM: PERSISTENT, Signal.DRIFT: NOT_RAISED},
        frozenset({*_HARMED, Signal.PRIOR, Signal.SCORE_DRIFT}),
        "the champion does worse, and no move of the inputs was seen: what they mean has changed",
    ),
    Rule(
        Cause.TRAINING_FAULT,
        {Signal.TRAINING: RAISED},
        frozenset({Signal.TRAINING}),
        "training failed, again and again",
    ),
    Rule(
        Cause.BENIGN_DRIFT,
        {Signal.DRIFT: RAISED, Derived.HARM: CLEAR},
        frozenset({Signal.PRIOR, *_MOVED}),
        "the inputs moved, and the champion still performs on them",
    ),
    Rule(
        Cause.BENIGN_DRIFT,
        {Signal.SCORE_DRIFT: RAISED, Derived.HARM: CLEAR},
        _MOVED,
        "the scores moved, and the champion still performs",
    ),
    Rule(
        Cause.SCORE_SHIFT,
        {
            Signal.SERVED_SCORES: RAISED,
            Signal.DRIFT: NOT_RAISED,
            Signal.SCORE_DRIFT: NOT_RAISED,
            Signal.PRIOR: NOT_RAISED,
            Signal.RELEASE: NOT_RAISED,
            Derived.HARM: NOT_RAISED,
        },
        _SERVED,
        "servers give other scores than the champion gave on its holdout, and no batch shows why",
    ),
)
