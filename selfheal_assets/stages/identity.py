"""Name a model's assets: keys, partitions and the attributes that every asset of a model carries. Holds no logic."""

from typing import TYPE_CHECKING, Any

from selfheal_assets.core.model_spec import ModelSpec

if TYPE_CHECKING:
    import dagster as dg

MODEL_TAG = "selfheal/model"
DECISION_TAG = "selfheal/decision"
ATTEMPT_TAG = "selfheal/attempt"
BACKLOG_TAG = "selfheal/backlog"
LABELS_TAG = "selfheal/labels"
ROLLOUT_TAG = "selfheal/rollout"
"""What a run carries out of a rollout: its id, and the state that it came to."""
SIZE_TAG = "selfheal/batches"
"""How many batches an ingest was asked for."""
ROW_CAP_TAG = "selfheal/row_cap"
"""How many rows a training may learn from and be judged on, together."""


def key(spec: ModelSpec, name: str) -> "dg.AssetKey":
    import dagster as dg

    return dg.AssetKey([spec.name, name])


def partitions(spec: ModelSpec) -> "dg.DynamicPartitionsDefinition":
    """One partition a batch, named by the batch id."""
    import dagster as dg

    return dg.DynamicPartitionsDefinition(name=f"{spec.name}_batches")


def attributes(spec: ModelSpec, name: str, *kinds: str) -> dict[str, Any]:
    """What `dg.AssetSpec` and `dg.asset` take alike."""
    return {
        "key": key(spec, name),
        "group_name": spec.name,
        "owners": list(spec.owners),
        "kinds": set(kinds),
        "code_version": spec.fingerprint(),
        "tags": {MODEL_TAG: spec.name},
    }


def by_batch(spec: ModelSpec) -> dict[str, Any]:
    """Partitioned by batch; one run may take many batches, so that a backlog drains at the cost of one start."""
    import dagster as dg

    return {"partitions_def": partitions(spec), "backfill_policy": dg.BackfillPolicy.single_run()}
