"""The job by which a person answers in Dagster's UI: yes or no to what waits. Never acts on it."""

import dagster as dg

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import Services
from selfheal_assets.stages.answer import answer
from selfheal_assets.stages.identity import MODEL_TAG
from selfheal_assets.stages.jobs import approve_name


class Word(dg.Config):
    """What a person says about an incident whose action waits."""

    incident: str
    """The incident's id, or that of the decision that waits."""
    approve: bool
    """False: it is rejected, and the incident escalated."""
    reason: str = ""
    who: str = ""
    """Whose word it is; Dagster itself does not know who launches a run."""


def approval(spec: ModelSpec) -> dg.JobDefinition:
    """The job `m_approve`."""

    @dg.op(name=f"{spec.name}__approve", description="Write down that a person approves, or rejects, what waits.")
    def approve(context: dg.OpExecutionContext, config: Word, selfheal: dg.ResourceParam[Services]) -> None:
        who = config.who.strip() or f"whoever launched Dagster run {context.run.run_id}"
        now = selfheal.clock.now()
        answer(selfheal.ledger, spec, config.incident, approve=config.approve, who=who, reason=config.reason, now=now)

    @dg.job(
        name=approve_name(spec),
        tags={MODEL_TAG: spec.name},
        description="Approve or reject an action that waits. Set `incident`, `approve`, and best `who` and `reason`.",
    )
    def approve_job() -> None:
        approve()

    return approve_job
