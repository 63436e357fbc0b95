"""Roll out: a candidate that passed its gates in; its rollout opened, or carried on, and shown. Never judges one."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from selfheal_assets.core.errors import RolloutError
from selfheal_assets.core.gates import GateResult
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record
from selfheal_assets.core.rollout_state import Rollout
from selfheal_assets.ports import Services
from selfheal_assets.stages.heal_decision import heal_decision
from selfheal_assets.stages.identity import attributes, key
from selfheal_assets.stages.jobs import rollout_name
from selfheal_assets.stages.metadata import number, table
from selfheal_assets.stages.rollout_course import carry_out, open_rollout
from selfheal_assets.stages.rollout_records import decision_of, newest_rollout, transitions_of
from selfheal_assets.stages.succession import passed


def rollout(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset `m/rollout`; only of a model whose `rollout.over` is not `none`."""

    @dg.asset(
        **attributes(spec, "rollout", "mlflow"),
        deps=[key(spec, "validation_report")],
        description=(
            "The challenger's way to everybody: shadow, steps, bake. Opened when every gate passed; judged by the "
            "rollout sensor; its state stands in the ledger, and the servers follow that."
        ),
    )
    def rollout(context: dg.AssetExecutionContext, selfheal: dg.ResourceParam[Services]) -> dg.MaterializeResult:
        decision = decision_to_release(context, selfheal, spec)
        standing = open_rollout(selfheal, spec, decision, passed(selfheal, spec, decision))
        if standing is None:
            return dg.MaterializeResult(
                metadata={"decision": decision.subject, "state": "none: no champion to compare with, or no server runs"}
            )
        standing = carry_out(selfheal, spec, decision, standing)
        context.log.info(f"rollout {standing.id}: {standing.state}: {standing.reason}")
        every = transitions_of(selfheal.ledger, spec, standing.id)
        return dg.MaterializeResult(metadata=metadata(standing, every))

    return rollout


def decision_to_release(context: dg.AssetExecutionContext, selfheal: Services, spec: ModelSpec) -> Record:
    """In the job `m_rollout` the newest rollout's, whoever launched it; else that of the retraining."""
    if context.run.job_name != rollout_name(spec):
        return heal_decision(context, selfheal, spec)
    standing = newest_rollout(selfheal.ledger, spec)
    if standing is None:
        raise RolloutError(
            f"A rollout must have been opened before it is carried on; {spec.name} has had none. "
            "A retraining opens one when its candidate passes every gate."
        )
    return decision_of(selfheal.ledger, spec, standing)


def metadata(standing: Rollout, transitions: Sequence[tuple[Record, Rollout]]) -> dict[str, Any]:
    """What a person sees of a rollout as of its last transition."""
    from selfheal_assets.stages.plots import as_markdown, rollout_plot

    every = [one for _, one in transitions]
    judged = next((one for one in reversed(every) if one.results), standing)
    return {
        "decision": standing.id,
        "state": str(standing.state),
        "reason": dg.MetadataValue.md(standing.reason),
        "course": dg.MetadataValue.md(as_markdown(rollout_plot(every), "the challenger's share of the traffic")),
        "champion": standing.champion,
        "challenger": standing.challenger,
        "weight": number(standing.weight),
        "verdict": str(standing.verdict),
        "steps": table([_step(one) for one in every]),
        "gates": table([_gate(found) for found in judged.results]),
    }


def _step(one: Rollout) -> dict[str, Any]:
    return {
        "at": f"{one.changed_at:%Y-%m-%d %H:%M:%S}",
        "state": str(one.state),
        "weight": one.weight,
        "verdict": str(one.verdict),
        "reason": one.reason,
    }


def _gate(found: GateResult) -> dict[str, Any]:
    low, high = found.interval or (None, None)
    return {
        "gate": found.name,
        "verdict": str(found.verdict),
        "worse_by": found.value,
        "low": low,
        "high": high,
        "may_be": found.threshold,
        "reason": found.reason,
    }
