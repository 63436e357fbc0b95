"""Name the causes and the actions, and the order of gravity. Never says which belong together."""

from enum import StrEnum


class Cause(StrEnum):
    """What is behind the evidence. The order is the order of gravity: of two, the first is acted on first."""

    BAD_RELEASE = "bad_release"
    """The version that was promoted last is worse than the one before it."""
    SERVING_FAULT = "serving_fault"
    """The model server fails, or is late."""
    FEATURE_STORE_FAULT = "feature_store_fault"
    """The feature store does not give features."""
    BAD_DATA = "bad_data"
    """What arrived is broken."""
    UPSTREAM_STALLED = "upstream_stalled"
    """Nothing arrives, or too little."""
    PRIOR_SHIFT = "prior_shift"
    """Label 1 is more or less common than it was, and nothing else changed."""
    HARMFUL_DRIFT = "harmful_drift"
    """The inputs moved, to where the champion is not good enough."""
    CONCEPT_DRIFT = "concept_drift"
    """The same inputs mean something else than they did."""
    TRAINING_FAULT = "training_fault"
    """No candidate can be made."""
    NO_CHAMPION = "no_champion"
    """There is no model yet, and enough to learn the first one from. Not an incident."""
    BENIGN_DRIFT = "benign_drift"
    """The inputs or the scores moved, and the champion is as good as before."""
    SCORE_SHIFT = "score_shift"
    """The scores that servers give are not those of the champion's holdout, and no batch or fault says why."""
    UNKNOWN = "unknown"
    """Something was raised, or could not be measured, and no rule explains it. Doubt never touches production."""
    NONE = "none"
    """Nothing is raised. Not an incident."""


GRAVITY = tuple(Cause)
ABOUT_THE_METRIC = frozenset({Cause.BAD_RELEASE, Cause.PRIOR_SHIFT, Cause.HARMFUL_DRIFT, Cause.CONCEPT_DRIFT})
"""Causes whose incidents are told by the metric before, at its worst, and after."""
NOT_AN_INCIDENT = frozenset({Cause.NO_CHAMPION, Cause.NONE})


class Action(StrEnum):
    """What may be done about a cause."""

    QUARANTINE = "quarantine"
    """The bad rows, or the whole batch, are kept apart with the reason. The ingest has done it before anything is
    decided; the decision writes it down."""
    REINSTATE = "reinstate"
    """An archived version, the best on the freshest labelled rows, is judged by the gates and serves again."""
    RECALIBRATE = "recalibrate"
    """The champion with its scores corrected for the new share of label 1; judged by the gates."""
    RETRAIN = "retrain"
    """A new model is tuned and trained on the newest clean, labelled batches; judged by the gates."""
    ROLLBACK = "rollback"
    """The alias `champion` is put back on the version that served before. No gate: it has passed them once."""
    FALLBACK = "fallback"
    """Features come from the last answers of the feature store, or from `serving.defaults`. The model server has done
    it before anything is decided; the decision writes it down, and the incident waits until the store is back."""
    RESTART = "restart"
    """The server processes at fault are ended and started anew, at most `serving.restarts_per_hour` times an hour."""
    SCALE = "scale"
    """More model servers."""
    REFRESH_REFERENCE = "refresh_reference"
    """To measure drift against newer rows, under the same champion."""
    NOTIFY = "notify"
    """People are told, as they are of every incident when it gets its cause; nothing else."""
    ESCALATE = "escalate"
    """People are told that nothing is left that the policy may try, and that they must act."""
    NOTHING = "nothing"
    """It is watched until its signals are clear."""


PRODUCES_CANDIDATE = frozenset({Action.REINSTATE, Action.RECALIBRATE, Action.RETRAIN})
"""Carried out by the job `<model>_retrain`: each ends in a candidate before the same gates."""
ON_SERVERS = frozenset({Action.RESTART, Action.SCALE})
"""Done to model servers through the port `Serving`: the champion stays. They have a limit of their own, and neither
wait for what changes the champion nor hold it up."""
TOUCHES_PRODUCTION = PRODUCES_CANDIDATE | ON_SERVERS | {Action.ROLLBACK}
"""Held back by autonomy, budget, cost, flags and doubt; of one model, one at a time on the champion, and on servers."""
