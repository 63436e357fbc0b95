"""What a model's policy is: frozen dataclasses of autonomy, limits, actions and costs. Never decides anything."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, MinLen

from selfheal_assets.core.spec_values import Count, NonNegative, Positive, Share, no_repeats


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """What selfheal may do by itself, and how often."""

    autonomy: Literal["observe", "recommend", "heal"] = "heal"
    """`observe`: decisions about the champion are recorded and never carried out. `recommend`: they wait for a person's
    approval; the first model is learned without one. `heal`: they are carried out. A quarantine never waits."""
    cooldown_minutes: NonNegative = 30.0
    """No heal of a new incident, and no second try of the same action, before this has passed since the last decision
    to heal. The next alternative of the same incident, and a rollback, do not wait."""
    heals_per_day: Count = 4
    """At most so many decisions to touch production in any 24 hours. Each alternative counts, also one whose candidate
    was refused; rollbacks count; the first model does not. More: fewer incidents wait. Unit: decisions."""
    strong_psi: Positive = 0.5
    """Drift this large, when persistent, is taken for harmful where the performance is unknown. A new candidate still
    waits until a batch of the incident has labels. Lower: sooner help, and more heals without need.
    Unit: PSI."""
    watch_batches: Count = 3
    """So many batches after a promotion the previous champion is scored beside the new one: decay is a bad release.
    Later than that it is harmful drift or concept drift."""
    verify_batches: Count = 3
    """A heal has so many measured batches to show its signals clear; after that, unless the newest is clear, the next
    alternative is tried. More: later, and surer, that it did not help."""
    verify_hours: Positive = 168.0
    """A heal after which nothing is measured for so long is escalated: nobody can say whether it helped. Each measured
    batch gives it as much time again. Longer than labels take; the watchdog tells people earlier, after
    `stalled_incident_hours`."""
    retries: Annotated[int, Ge(0)] = 1
    """How often the last alternative is tried again, on new data, before the incident is escalated. Unit: heals."""
    archived_versions: Annotated[int, Ge(0)] = 5
    """How many earlier versions `reinstate` looks at, the newest first. Each is loaded and scored. 0: it finds none."""
    approval_hours: Positive = 24.0
    """An approval that nobody gives is void after this, and the incident is escalated."""
    first_model_tries: Count = 8
    """How often the first model is tried. After each try that made no champion the wait doubles, from
    `cooldown_minutes` up to a day. After the last one nothing more is tried, and a training_fault is escalated, until a
    person launches the job `<model>_retrain`. Unit: tries."""
    failures_remembered: Count = 6
    """The last so many heals whose failures raise the bar of evidence, one more batch for each in a row.
    Unit: heals."""
    max_change_failure_share: Share = 0.5
    """Past this share of failed heals among those remembered (three at least) the model drops to `recommend`."""
    stuck_run_minutes: Positive = 60.0
    """A run that has written no event for this long is reported to people as stuck. Longer than the longest quiet step:
    the tuning of a large model writes none. A run whose process is seen to be gone is not waited for."""
    stalled_incident_hours: Positive = 72.0
    """An incident that has been in one state for this long is reported to people: nobody verifies it, or lets it go on.
    Longer than labels take, where they come late."""


ActionName = Literal[
    "reinstate",
    "recalibrate",
    "retrain",
    "rollback",
    "fallback",
    "restart",
    "notify",
    "escalate",
    "nothing",
]
Alternatives = Annotated[tuple[ActionName, ...], MinLen(1)]
Telling = Annotated[tuple[Literal["notify", "escalate", "nothing"], ...], MinLen(1)]
"""Where there is nothing that a candidate could be judged by, production is not touched."""


@dataclass(frozen=True, kw_only=True)
class ActionsSpec:
    """What to do about each cause: alternatives, tried in order. The next one follows when one was refused, failed or
    did not help. After `notify` and `nothing` none follows: the incident waits until it clears."""

    harmful_drift: Alternatives = ("reinstate", "retrain")
    """The inputs moved and the champion does worse. `[retrain]` spares the look into the archive."""
    concept_drift: Alternatives = ("reinstate", "retrain")
    """The champion does worse on inputs that did not move."""
    prior_shift: Alternatives = ("recalibrate", "retrain")
    """The share of label 1 moved and nothing else. Held back while no harm is seen. Recalibrating moves every score
    alike and keeps their order, so that it helps `log_loss` and not `roc_auc`."""
    benign_drift: Alternatives = ("nothing",)
    """The inputs moved, and no harm is seen. `[retrain]` here is what retraining on drift means: it costs, and each
    change of the champion is a risk."""
    bad_release: Alternatives = ("rollback", "retrain")
    """The version that was promoted last is worse than the one before it."""
    upstream_stalled: Alternatives = ("notify",)
    """Data stopped coming, or too little comes. Nothing that selfheal could train on would mend that."""
    training_fault: Alternatives = ("escalate",)
    """Training fails. A person must look."""
    serving_fault: Alternatives = ("restart", "escalate")
    """The server fails, or is late."""
    feature_store_fault: Alternatives = ("fallback", "escalate")
    """Features do not come."""
    score_shift: Telling = ("notify",)
    """The servers' scores moved, and no batch shows it yet. Scores alone prove no harm, so that nothing may be declared
    which touches production: a batch that shows harm leads to what is declared for that."""

    def __post_init__(self) -> None:
        for cause, actions in vars(self).items():
            no_repeats(f"actions.{cause}", actions)


@dataclass(frozen=True, kw_only=True)
class CostSpec:
    """When a heal pays: expected loss against the cost of the action, in one currency. All zero: every heal pays."""

    value_per_unit_day: NonNegative = 0.0
    """What a whole unit of the metric is worth on one day; 0: nothing is held back for its cost. A drop of 0.05 in
    `roc_auc` is 0.05 units. Unit: currency by unit of the metric and day."""
    horizon_days: Positive = 7.0
    """For how long the loss is expected to go on. Longer: more heals pay."""
    compute_per_hour: NonNegative = 0.0
    """Rate of the machine that carries the action out. The hours are the median of the same action's past, from its
    beginning to its end; without a past they count as nothing. Unit: currency by hour."""
    per_heal: NonNegative = 0.0
    """What each change of the champion costs besides: reviews, risk, downstream checks. Unit: currency."""
