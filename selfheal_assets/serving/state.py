"""Say how a server stands: its parts in, ready or not and why, and the versions out. Changes nothing."""

from datetime import datetime

from pydantic import BaseModel

from selfheal_assets.serving.parts import Parts


class Readiness(BaseModel):
    """Whether requests may be sent here."""

    ready: bool
    problems: list[str]


class Version(BaseModel):
    """A version that stands ready."""

    version: str
    run_id: str
    loaded_at: datetime
    age_seconds: float
    """Since it was loaded here."""


class ModelState(BaseModel):
    """Who answers."""

    model: str
    alias: str
    version: str
    run_id: str
    loaded_at: datetime
    age_seconds: float
    challenger: Version | None
    weight: float
    """The challenger's share of the traffic; 0: it is in the shadow."""
    rollout: str | None
    standby: Version | None
    paused: bool
    """Whether the registry is not followed at present."""
    troubles: list[str]
    """Versions that are wanted and cannot serve, and whether the registry cannot be asked."""


def readiness(parts: Parts) -> Readiness:
    """A server is ready when a model stands and every answer is being kept."""
    problems = []
    if parts.lines.line is None:
        problems += ["No model stands ready yet.", *troubles(parts)]
    trouble = parts.log.trouble
    if trouble is not None:
        problems.append(f"Answers are not being kept: {trouble}")
    return Readiness(ready=not problems, problems=problems)


def troubles(parts: Parts) -> list[str]:
    """Why not everything that is wanted serves; empty when it does."""
    registry = parts.lines.registry_trouble
    refused = [f"Version {trouble.version} cannot serve: {trouble.reason}" for trouble in parts.lines.troubles]
    return [*([registry] if registry is not None else []), *refused]


def model_state(parts: Parts) -> ModelState | None:
    """None before the first model."""
    line = parts.lines.line
    if line is None:
        return None
    now = parts.clock.now()

    def shown(version: str | None) -> Version | None:
        model = line.models.get(version) if version is not None else None
        if model is None:
            return None
        age = max(0.0, (now - model.loaded_at).total_seconds())
        return Version(version=model.version, run_id=model.run_id, loaded_at=model.loaded_at, age_seconds=age)

    traffic = line.traffic
    champion = shown(traffic.champion)
    if champion is None:
        return None
    return ModelState(
        model=parts.spec.name,
        alias="champion",
        **champion.model_dump(),
        challenger=shown(traffic.challenger),
        weight=traffic.weight,
        rollout=traffic.rollout,
        standby=shown(traffic.standby),
        paused=parts.lines.paused,
        troubles=troubles(parts),
    )


def versions(parts: Parts) -> list[tuple[str, ...]]:
    """(model, version, alias, run id) of each that stands ready."""
    state = model_state(parts)
    if state is None:
        return []
    named = {"challenger": state.challenger, "standby": state.standby}
    others = [(state.model, v.version, alias, v.run_id) for alias, v in named.items() if v is not None]
    return [(state.model, state.version, state.alias, state.run_id), *others]
