"""Open a rollout, and carry out what its states ask for: aliases, tags, the decision's end. Never judges one."""

from typing import Any

from selfheal_assets.core.causes import Cause
from selfheal_assets.core.errors import RegistryError
from selfheal_assets.core.incident import OutcomeStatus, Result
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.notification import Severity
from selfheal_assets.core.record import Record
from selfheal_assets.core.rollout import opened
from selfheal_assets.core.rollout_history import skips_steps
from selfheal_assets.core.rollout_look import NOT_LOOKED, Look
from selfheal_assets.core.rollout_state import Rollout, RolloutState
from selfheal_assets.core.rollout_verdict import bad_release, bad_release_id, result_of
from selfheal_assets.ports import ModelVersion, Services
from selfheal_assets.stages.candidates import candidate_of
from selfheal_assets.stages.champion import CHAMPION, champion
from selfheal_assets.stages.governance import run_of
from selfheal_assets.stages.heal_decision import close
from selfheal_assets.stages.rollout_look import counts
from selfheal_assets.stages.rollout_records import end, has_outcome, past_rollouts, refuse_second, rollout_of
from selfheal_assets.stages.succession import is_frozen, serves

RELEASED = (RolloutState.BAKE, RolloutState.PROMOTED)
"""States in which the challenger has the champion's alias."""
A_PERSON = "a person"


def open_rollout(selfheal: Services, spec: ModelSpec, decision: Record, report: dict[str, Any]) -> Rollout | None:
    """The decision's rollout, opened unless it is; None where there is no champion to be compared with, or no traffic
    to be split.

    Raises RolloutError while the model has another one, AliasConflictError when the champion is another than the
    candidate was judged against.
    """
    standing = rollout_of(selfheal.ledger, spec, decision.subject)
    if standing is not None:
        return standing
    refuse_second(selfheal.ledger, spec, decision.subject)
    before, version = report["champion_version"], report["version"]
    if before is None or serves(selfheal, spec, report):
        return None
    now = selfheal.clock.now()
    look: Look | None = Look()
    if spec.rollout.over == "requests":
        status = selfheal.serving.status(spec.name)
        if not status.any:
            return None
        look, _ = counts(status.servers, before, version)
    rollout = opened(
        spec.rollout,
        decision_id=decision.subject,
        model=spec.name,
        champion=before,
        challenger=version,
        now=now,
        look=look if look is not None else NOT_LOOKED,
        skip_steps=skips_steps(spec.rollout, past_rollouts(selfheal.ledger, spec), version, now),
        expected_distance=report.get("score_distance", 0.0),
    )
    selfheal.ledger.append(rollout.to_record())
    return rollout_of(selfheal.ledger, spec, decision.subject)


def carry_out(selfheal: Services, spec: ModelSpec, decision: Record, rollout: Rollout) -> Rollout:
    """Do what an end asks for, and end what a person has made pointless; the rollout as it is then.

    The moves of a release are those of the champion's own asset. Doing it twice changes nothing.
    """
    if has_outcome(selfheal.ledger, spec, rollout):
        return rollout
    elsewhere = _moved_away(selfheal, spec, rollout)
    if elsewhere and not rollout.ended:
        now = selfheal.clock.now()
        rollout = end(selfheal.ledger, spec, A_PERSON, elsewhere, now) or rollout
    if rollout.state is RolloutState.ABORTED:
        _take_back(selfheal, spec, decision, rollout)
    elif elsewhere and rollout.state is RolloutState.PROMOTED:
        _close(selfheal, spec, decision, rollout, Result.DECLINED, elsewhere)
    return rollout


def _moved_away(selfheal: Services, spec: ModelSpec, rollout: Rollout) -> str:
    """How somebody else moved the champion's alias meanwhile; empty when nobody did."""
    serving = champion(selfheal, spec)
    version = serving.version if serving else None
    released = is_frozen(selfheal, spec, rollout.id, rollout.challenger)
    expected = (
        (rollout.challenger,) if released and rollout.state in RELEASED else (rollout.champion, rollout.challenger)
    )
    return "" if version in expected else f"the champion's alias was moved to version {version} meanwhile"


def _take_back(selfheal: Services, spec: ModelSpec, decision: Record, rollout: Rollout) -> None:
    """The alias first; people are told before the decision ends, so that a crash tells them twice, and never not."""
    serving = champion(selfheal, spec)
    if serving is not None and serving.version == rollout.challenger:
        selfheal.registry.move_alias(spec.name, CHAMPION, rollout.champion, expected=rollout.challenger)
    incident = decision.payload.get("incident")
    if rollout.rejected:
        selfheal.registry.tag(_challenger(selfheal, spec, rollout), {"verdict": "REJECTED"})
        selfheal.ledger.append(*bad_release(rollout, decision, selfheal.clock.now()))
        incident = bad_release_id(rollout)
    title = f"{Cause.BAD_RELEASE.replace('_', ' ')}: taken back" if rollout.rejected else "rollout ended"
    body = f"version {rollout.challenger} is not released, version {rollout.champion} answers: {rollout.reason}"
    severity = Severity.FAILURE if rollout.rejected else Severity.WARNING
    selfheal.notifier.notify(spec.name, title, body, incident=incident, severity=severity)
    _close(selfheal, spec, decision, rollout, result_of(rollout), rollout.reason)


def _close(
    selfheal: Services, spec: ModelSpec, decision: Record, rollout: Rollout, result: Result, reason: str
) -> None:
    close(
        selfheal,
        spec,
        decision.subject,
        OutcomeStatus.REFUSED,
        version=rollout.challenger,
        reason=f"its rollout ended: {reason}",
        result=result,
        **run_of(selfheal, candidate_of(selfheal, spec, decision)),
    )


def _challenger(selfheal: Services, spec: ModelSpec, rollout: Rollout) -> ModelVersion:
    found = next((v for v in selfheal.registry.versions(spec.name) if v.version == rollout.challenger), None)
    if found is None:
        raise RegistryError(
            f"A rollout's challenger must be in the registry; received version {rollout.challenger} of {spec.name}, "
            "which is not. Was it deleted by hand? Restore it."
        )
    return found
