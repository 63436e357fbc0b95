"""Carry out what was decided, through the same candidate, gates and succession as the stages. Never decides."""

import time

from selfheal_assets.core.causes import Action
from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.gates import Verdict
from selfheal_assets.core.incident import OutcomeStatus, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.record import Record
from selfheal_assets.ports import Services
from selfheal_assets.rehearsal.wiring import no_mlflow
from selfheal_assets.stages.heal_decision import close
from selfheal_assets.stages.judgement import judged
from selfheal_assets.stages.making import action_of, gathered, made, reinstated, tuned_anew
from selfheal_assets.stages.succession import freeze_reference, passed, promote
from selfheal_assets.stages.take_back import take_back


def carry_out(services: Services, spec: ModelSpec, decision: Record) -> float:
    """End the decision by an outcome in the ledger; the seconds of work it took. An error of ours is its failure."""
    began = time.perf_counter()
    try:
        if action_of(decision) is Action.ROLLBACK:
            take_back(services, spec, decision, decision.payload["reason"])
        elif _candidate(services, spec, decision):
            _, _, report = judged(services, spec, decision)
            if report["verdict"] == Verdict.PASS:
                report = passed(services, spec, decision)
                promote(services, spec, report)
                freeze_reference(services, spec, decision, report)
    except SelfhealError as error:
        close(
            services,
            spec,
            decision.subject,
            OutcomeStatus.FAILED,
            version=None,
            reason=str(error),
            result=Result.FAILED,
        )
    return time.perf_counter() - began


def _candidate(services: Services, spec: ModelSpec, decision: Record) -> bool:
    """Whether there is a candidate to judge."""
    frame = gathered(services, spec, decision)
    if action_of(decision) is Action.REINSTATE:
        return reinstated(services, spec, decision, frame)[0]
    if action_of(decision) is Action.RETRAIN:
        tuned_anew(services, spec, decision)
    made(services, spec, decision, frame, no_mlflow)
    return True
