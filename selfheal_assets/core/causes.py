"""Name the causes and the actions, and the order of gravity. Never says which belong together."""

from enum import StrEnum


class Cause(StrEnum):
    """What is behind the evidence. The order is the order of gravity: of two, the first is acted on first."""

    BAD_RELEASE = "bad_release"
    SERVING_FAULT = "serving_fault"
    FEATURE_STORE_FAULT = "feature_store_fault"
    BAD_DATA = "bad_data"
    UPSTREAM_STALLED = "upstream_stalled"
    PRIOR_SHIFT = "prior_shift"
    HARMFUL_DRIFT = "harmful_drift"
    CONCEPT_DRIFT = "concept_drift"
    TRAINING_FAULT = "training_fault"
    NO_CHAMPION = "no_champion"
    """There is no model yet, and enough to learn the first one from. Not an incident."""
    BENIGN_DRIFT = "benign_drift"
    UNKNOWN = "unknown"
    """Something was raised, or could not be measured, and no rule explains it. Doubt never touches production."""
    NONE = "none"


GRAVITY = tuple(Cause)
ABOUT_THE_METRIC = frozenset({Cause.BAD_RELEASE, Cause.PRIOR_SHIFT, Cause.HARMFUL_DRIFT, Cause.CONCEPT_DRIFT})
"""Causes whose incidents are told by the metric before, at its worst, and after."""
NOT_AN_INCIDENT = frozenset({Cause.NO_CHAMPION, Cause.NONE})


class Action(StrEnum):
    QUARANTINE = "quarantine"
    REINSTATE = "reinstate"
    """An archived version, the best on the freshest labelled rows, is judged by the gates and serves again."""
    RECALIBRATE = "recalibrate"
    """The champion with its scores corrected for the new share of label 1; judged by the gates."""
    RETRAIN = "retrain"
    ROLLBACK = "rollback"
    FALLBACK = "fallback"
    RESTART = "restart"
    SCALE = "scale"
    REFRESH_REFERENCE = "refresh_reference"
    NOTIFY = "notify"
    ESCALATE = "escalate"
    NOTHING = "nothing"


PRODUCES_CANDIDATE = frozenset({Action.REINSTATE, Action.RECALIBRATE, Action.RETRAIN})
"""Carried out by the job `<model>_retrain`: each ends in a candidate before the same gates."""
TOUCHES_PRODUCTION = PRODUCES_CANDIDATE | {Action.ROLLBACK, Action.FALLBACK, Action.RESTART, Action.SCALE}
"""Held back by autonomy, budget, cost, flags and doubt; of one model, one at a time."""
