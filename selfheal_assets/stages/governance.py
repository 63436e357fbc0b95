"""Say of a decision what set it off and who let it through: a DECISION record in, tags out. Never writes them."""

from selfheal_assets.core.causes import PRODUCES_CANDIDATE, Action
from selfheal_assets.core.policy import DecisionStatus
from selfheal_assets.core.record import Record, RecordKind
from selfheal_assets.ports import Ledger, ModelVersion, Services

DECISION, DATA, TRIGGER, INCIDENT, CAUSE, APPROVAL = (
    "decision_id",
    "data_hash",
    "trigger",
    "incident",
    "cause",
    "approval",
)
GOVERNED = frozenset({DECISION, DATA, TRIGGER, INCIDENT, CAUSE, APPROVAL})
"""Tags of every version, and of its MLflow run."""
BY_HAND = "none asked: a person launched it"
BY_POLICY = "none needed: the policy let it through"


def origin(ledger: Ledger, decision: Record) -> dict[str, str]:
    """The tags trigger, incident, cause and approval of what is made for the decision."""
    incident, cause = decision.payload.get("incident"), str(decision.payload["cause"])
    return {
        TRIGGER: f"incident {incident}: {cause}" if incident else f"{cause}: {decision.payload['reason']}",
        INCIDENT: str(incident or "none"),
        CAUSE: cause,
        APPROVAL: _approval(ledger, decision),
    }


def _approval(ledger: Ledger, decision: Record) -> str:
    words = ledger.newest(decision.model, RecordKind.APPROVAL, subject=decision.subject)
    if words:
        said = words[0]
        reason = said.payload.get("reason")
        return f"{said.status.lower()} by {said.payload.get('who', 'unknown')}{f': {reason}' if reason else ''}"
    # Only the policy writes down the place in the ledger that it decided at.
    by_policy = "seen" in decision.payload and decision.status == DecisionStatus.DECIDED
    return BY_POLICY if by_policy else BY_HAND


def run_of(services: Services, version: ModelVersion) -> dict[str, str]:
    """What an outcome says of the version's MLflow run: its id, and where a person looks at it."""
    return {"mlflow_run_id": version.run_id, "mlflow": services.registry.link(version)}


def tag_again(services: Services, version: ModelVersion, decision: Record) -> None:
    """Tag a version that stood already when the decision chose it, or took it back: one tag a decision."""
    tags = origin(services.ledger, decision)
    services.registry.tag(version, {again(decision): f"{tags[TRIGGER]}; approval: {tags[APPROVAL]}"})


def again(decision: Record) -> str:
    """The name of that tag."""
    return f"{decision.payload['action']}.{decision.subject}"


def is_governed(version: ModelVersion, decision: Record) -> bool:
    """Whether the version's tags say which decision made, chose or took it back, and who let that through."""
    made = Action(decision.payload["action"]) in PRODUCES_CANDIDATE - {Action.REINSTATE}
    if made:
        return version.tags.get(DECISION) == decision.subject and version.tags.keys() >= GOVERNED
    return again(decision) in version.tags
