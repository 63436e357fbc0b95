"""Compares a model's spec with its Feast objects and transform: every mistake, as sentences. Never raises for one."""

from pathlib import Path
from typing import Any

from selfheal_assets.adapters.feast_frames import files_of, published_columns
from selfheal_assets.adapters.feast_repository import (
    Declared,
    ServicePlan,
    plan_service,
)
from selfheal_assets.adapters.feast_transforms import transform_problems
from selfheal_assets.core.errors import FeatureError
from selfheal_assets.core.feature_defaults import default_problems
from selfheal_assets.core.model_spec import ModelSpec


def feature_problems(spec: ModelSpec, declared: Declared, folder: Path, transform: Path) -> list[str]:
    """`folder` is where the model's features are published, `transform` its SQL file (which may be missing)."""
    problems = list(declared.problems)
    service = declared.services().get(spec.features.service)
    if service is None:
        known = sorted(declared.services())
        return [
            *problems,
            f"features.service must be declared in feature_repo; received {spec.features.service!r}, "
            f"declared are {known}. Declare it or correct the name.",
        ]
    try:
        plan = plan_service(service, declared.views())
    except KeyError as error:
        return [
            *problems,
            f"Service {service.name!r} must use declared views; {error} is not declared. Declare it.",
        ]
    stored = {name: kind for features in plan.stored.values() for name, kind in features.items()}
    problems += default_problems(spec.serving.defaults, stored)
    return problems + _column_problems(spec, plan) + _entity_problems(spec, plan) + _views(plan, folder, transform)


def _column_problems(spec: ModelSpec, plan: ServicePlan) -> list[str]:
    request, problems = spec.features.request, []
    names = [*request, *plan.features]
    unasked = sorted(set(plan.inputs) - {*request, *spec.data.entities})
    if unasked:
        problems.append(
            f"features.request must have every input of the service's on-demand views; {unasked} are missing. Add them."
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        problems.append(
            f"A feature must come from one place; received {repeated} more than once, "
            "from features.request and the service. Rename or drop one."
        )
    unknown = sorted(set(spec.features.categorical) - set(names))
    if unknown:
        problems.append(
            f"features.categorical must be among the features {names}; received {unknown}. Correct or drop them."
        )
    leaks = sorted({spec.data.label, spec.data.event_id} & {*plan.features, *plan.inputs})
    if leaks:
        problems.append(f"The service must not use the label or the event id; received {leaks}. Remove them.")
    texts = {
        feature.name
        for view in (*plan.history, *plan.on_demand)
        for feature in view.features
        if str(feature.dtype) == "String" and feature.name in plan.features
    }
    undeclared = sorted(texts - set(spec.features.categorical))
    if undeclared:
        problems.append(f"features.categorical must name every text feature; {undeclared} are missing. Add them.")
    return problems


def _entity_problems(spec: ModelSpec, plan: ServicePlan) -> list[str]:
    declared, used = set(spec.data.entities), set(plan.join_keys)
    if plan.history and declared != used:
        return [
            f"data.entities must be the join keys of the service's views, {sorted(used)}; "
            f"received {sorted(declared)}. Correct one of them."
        ]
    return []


def _views(plan: ServicePlan, folder: Path, transform: Path) -> list[str]:
    problems: list[str] = []
    published: list[Any] = []
    for view in plan.history:
        files = files_of(view)
        if files == folder:
            published.append(view)
        elif files is not None:  # A warehouse's table is filled by whom it belongs to.
            problems.append(
                f"View {view.name!r} must read {folder}/*.parquet, where the model's features are published; "
                f"received {view.batch_source.path}. Use history_source({folder.name!r})."
            )
    try:
        columns = published_columns(published)
    except FeatureError as error:
        return [*problems, str(error)]
    return problems + (transform_problems(transform, list(columns)) if published else [])
