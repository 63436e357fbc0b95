"""Name the runs of a model: which assets an ingest, a retraining and a release materialize. Holds no logic."""

from typing import TypeAlias

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.stages.identity import MODEL_TAG, key
from selfheal_assets.stages.model_job import ModelJob

AssetJob: TypeAlias = UnresolvedAssetJobDefinition
"""What `dg.define_asset_job` gives."""
CHECKED = ("clean_batch", "quarantined_batch", "features", "predictions", "drift_report", "performance_report")
TRAINED = (
    "training_set",
    "tuned_parameters",
    "candidate_model",
    "validation_report",
)
PROMOTED = ("champion_model", "reference_data")


def _job(spec: ModelSpec, name: str, assets: tuple[str, ...], description: str) -> AssetJob:
    keys = dg.AssetSelection.assets(*(key(spec, asset) for asset in assets))
    return ModelJob(
        f"{spec.name}_{name}",
        selection=keys | dg.AssetSelection.checks_for_assets(*(key(spec, asset) for asset in assets)),
        description=description,
        tags={MODEL_TAG: spec.name},
    )


def ingest_name(spec: ModelSpec) -> str:
    return f"{spec.name}_ingest"


def ingest(spec: ModelSpec) -> AssetJob:
    return _job(
        spec,
        "ingest",
        ("raw_batch", *CHECKED),
        "From landed files to checked batches, features, scores and evidence; many batches a run.",
    )


def release_name(spec: ModelSpec) -> str:
    return f"{spec.name}_release_quarantine"


def release_quarantine(spec: ModelSpec) -> AssetJob:
    return _job(
        spec,
        "release_quarantine",
        CHECKED,
        "Checks a repaired or waived batch again and, with what is clean of it, everything downstream. "
        "Set `reason`, and `waive` or `repaired_file`, in the config of the checked batch.",
    )


def labels(spec: ModelSpec) -> AssetJob:
    return _job(
        spec,
        "labels",
        ("labels",),
        "From landed label files to labelled batches, and their performance measured again.",
    )


def retrain_name(spec: ModelSpec) -> str:
    return f"{spec.name}_retrain"


def rollback_name(spec: ModelSpec) -> str:
    return f"{spec.name}_rollback"


def approve_name(spec: ModelSpec) -> str:
    return f"{spec.name}_approve"


def rollout_name(spec: ModelSpec) -> str:
    return f"{spec.name}_rollout"


def rollout(spec: ModelSpec) -> AssetJob:
    return _job(
        spec,
        "rollout",
        released(spec),
        "Carries out what the newest rollout has come to: the alias moved and the reference frozen, the decision "
        "ended, or all of it taken back. Asked for by the rollout sensor; launched by hand it does the same.",
    )


def released(spec: ModelSpec) -> tuple[str, ...]:
    """What follows the judgement of a candidate."""
    return PROMOTED if spec.rollout.over == "none" else ("rollout", *PROMOTED)


def retrain(spec: ModelSpec) -> AssetJob:
    then = "a new champion" if spec.rollout.over == "none" else "its rollout, or the first champion"
    return _job(
        spec,
        "retrain",
        (*TRAINED, *released(spec)),
        "From clean labelled batches to a judged candidate (trained, recalibrated or reinstated) and, when every gate "
        f"passes, {then}.",
    )
