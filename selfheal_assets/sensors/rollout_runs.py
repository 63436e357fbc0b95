"""Carry a rollout's states out: a rollout in; the request of the run that is due, until it is done, out. No judge."""

import dagster as dg

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.notification import Severity
from selfheal_assets.core.rollout import aborted
from selfheal_assets.core.rollout_state import Rollout, RolloutState
from selfheal_assets.core.rollout_verdict import BY_ITSELF
from selfheal_assets.ports import Services
from selfheal_assets.sensors.runs import active_with_tag
from selfheal_assets.sensors.tries import Tries, tries
from selfheal_assets.stages.identity import ATTEMPT_TAG, DECISION_TAG, MODEL_TAG, ROLLOUT_TAG
from selfheal_assets.stages.jobs import rollout_name
from selfheal_assets.stages.rollout_records import has_outcome, write
from selfheal_assets.stages.succession import is_frozen


def runs(
    context: dg.SensorEvaluationContext, selfheal: Services, spec: ModelSpec, standing: Rollout, words: list[str]
) -> list[dg.RunRequest]:
    """The run that carries out what the state asks for, until it is done: waited for, asked for, or given up."""
    if not _due(selfheal, spec, standing):
        return []
    subject = f"{standing.id}-{standing.state.lower()}"
    running = active_with_tag(context.instance, ROLLOUT_TAG, subject)
    if running:
        words.append(f"run {running[:8]} is at work")
        return []
    # Asked again: the run may have ended, and done it, in between.
    if not _due(selfheal, spec, standing):
        return []
    found = tries(context.instance, selfheal, spec, ROLLOUT_TAG, subject)
    waits_until = found.waits_until(selfheal.clock.now())
    if found.given_up:
        words.append(_give_up(selfheal, spec, standing, found))
        return []
    if waits_until is not None:
        words.append(f"{found.words}; try {found.launched + 1} not before {waits_until:%Y-%m-%d %H:%M:%S} UTC")
        return []
    words.append(f"requested try {found.launched + 1}")
    return [_request(spec, standing, subject, found.launched + 1)]


def _due(selfheal: Services, spec: ModelSpec, standing: Rollout) -> bool:
    """Whether the state asks for something that is not done: the alias for a bake, all the rest for an end."""
    if standing.ended:
        return not has_outcome(selfheal.ledger, spec, standing)
    released = standing.state is RolloutState.BAKE
    return released and not is_frozen(selfheal, spec, standing.id, standing.challenger)


def _request(spec: ModelSpec, standing: Rollout, subject: str, attempt: int) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=subject if attempt == 1 else f"{subject}-{attempt}",
        job_name=rollout_name(spec),
        tags={
            MODEL_TAG: spec.name,
            DECISION_TAG: standing.id,
            ROLLOUT_TAG: subject,
            ATTEMPT_TAG: str(attempt),
        },
    )


def _give_up(selfheal: Services, spec: ModelSpec, standing: Rollout, found: Tries) -> str:
    """A bake whose alias cannot be moved is taken back; of an end that cannot be carried out people are told."""
    if not standing.ended:
        write(selfheal.ledger, aborted(standing, BY_ITSELF, f"its run {found.words}", selfheal.clock.now()))
        return f"taken back: its run {found.words}"
    body = f"its run {found.words}. Mend that, and launch the job `{rollout_name(spec)}`."
    title = f"rollout {standing.id} is {standing.state.lower()}, and its end cannot be carried out"
    selfheal.notifier.notify(spec.name, title, body, incident=standing.id, severity=Severity.FAILURE)
    return body
