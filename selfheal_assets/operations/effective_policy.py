"""Lay out for a terminal what a model's declaration comes to: a ModelSpec in, tables out. Decides nothing."""

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from selfheal_assets.core.causes import GRAVITY, NOT_AN_INCIDENT, TOUCHES_PRODUCTION
from selfheal_assets.core.holds import FEWEST_TO_DISTRUST, Hold
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.policy import alternatives
from selfheal_assets.operations.policy_actions import NOT_DECLARED
from selfheal_assets.operations.policy_fields import REQUIRED, TOP, FieldStory, values

ELSEWHERE = frozenset({TOP, "data", "features", "actions"})
"""Sections that hold no limit, or have a table of their own."""


def effective_policy(spec: ModelSpec) -> RenderableType:
    """What is done about each cause, what holds it back, and every limit; what is a default says so."""
    found = values(spec)
    title = f"{spec.name}: autonomy {spec.policy.autonomy}, policy {spec.fingerprint()}"
    return Group(Text(title, style="bold"), _causes(spec, found), _holds(spec), _limits(found))


def _causes(spec: ModelSpec, found: list[tuple[FieldStory, str, bool]]) -> Table:
    table = Table("cause", "actions, in order", "", title="what is done, the gravest cause first", title_justify="left")
    origin = {story.name: _origin(story, default) for story, _, default in found if story.section == "actions"}
    for cause in GRAVITY:
        if cause not in NOT_AN_INCIDENT:
            tried = [
                f"{action}{'' if action in TOUCHES_PRODUCTION else ' (never held back)'}"
                for action in alternatives(spec, cause)
            ]
            table.add_row(cause, ", then ".join(tried), "fixed" if cause in NOT_DECLARED else origin[cause])
    return table


def _holds(spec: ModelSpec) -> Table:
    table = Table("hold", "for this model", title="what holds it back, in the order asked", title_justify="left")
    for hold, words in standing_holds(spec).items():
        table.add_row(hold, words)
    return table


def standing_holds(spec: ModelSpec) -> Mapping[Hold, str]:
    """What each hold is for this model, in the order in which they are asked."""
    policy, cost = spec.policy, spec.cost
    distrust = (
        f"when more than {policy.max_change_failure_share:.0%} of the last {policy.failures_remembered} heals failed, "
        f"{FEWEST_TO_DISTRUST} at least being known"
    )
    asked = "always" if policy.autonomy == "recommend" else distrust
    value = f"a drop of 1 is worth {cost.value_per_unit_day:g} a day, for {cost.horizon_days:g} days"
    words = {
        Hold.FLAG: "while it is switched off at run time",
        Hold.AUTONOMY: "always: nothing is carried out" if policy.autonomy == "observe" else "no",
        Hold.NO_NEW_DATA: "a retraining, until a batch comes that the last one did not learn from",
        Hold.NO_SERVER: "a restart, until a model server of it was seen",
        Hold.NO_HARM: "a correction for a moved share of label 1, while neither performance nor risk is raised",
        Hold.NO_LABELS: f"a candidate, until {spec.performance.min_matured:.0%} of a batch of the incident has labels",
        Hold.EVIDENCE: f"a candidate, below {spec.drift.persistence_k} batches and one more for each heal that failed",
        Hold.COOLDOWN: f"for {policy.cooldown_minutes:g} minutes after the last decision to heal",
        Hold.BUDGET: f"after {policy.heals_per_day} decisions in 24 hours",
        Hold.COST: f"when it costs more than it saves: {value}" if cost.value_per_unit_day else "no: no value declared",
        Hold.APPROVAL: f"{asked}; void after {policy.approval_hours:g} hours",
    }
    return {hold: words[hold] for hold in Hold}


def _limits(found: list[tuple[FieldStory, str, bool]]) -> Table:
    table = Table("field", "value", "unit", "", title="every limit", title_justify="left")
    for story, value, default in found:
        if story.section not in ELSEWHERE:
            table.add_row(story.path, Text(value), story.unit, _origin(story, default))
    return table


def _origin(story: FieldStory, default: bool) -> Text:
    if default:
        return Text("default", style="dim")
    return Text("declared" if story.default == REQUIRED else f"declared; default {story.default}", style="green")
