"""Show an incident's case file as an asset: a case file in, a materialization out. Never computed by a run."""

from typing import Any

import dagster as dg

from selfheal_assets.core.incident import IncidentState
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.stages.case_file import CaseFile, quiet
from selfheal_assets.stages.case_markdown import Runs, case_markdown
from selfheal_assets.stages.identity import attributes, key
from selfheal_assets.stages.metadata import number


def incident_report(spec: ModelSpec) -> dg.AssetSpec:
    """The asset `m/incident_report`."""
    every = dg.AllPartitionMapping()
    reports = ("quarantined_batch", "drift_report", "performance_report")
    return dg.AssetSpec(
        **attributes(spec, "incident_report", "markdown"),
        deps=[dg.AssetDep(key(spec, name), partition_mapping=every) for name in reports],
        description=(
            "The case file of each incident, whenever it changes: what was seen, what it was taken for, what was "
            "refused and done, what it cost, how it was verified. Reported by the drift sensor; no run makes it."
        ),
    )


def materialization(spec: ModelSpec, case: CaseFile, runs: Runs) -> dg.AssetMaterialization:
    """The case file as it stands; with the plot once nothing more is going to be done."""
    i = case.incident
    metadata: dict[str, Any] = {
        "incident": i.id,
        "cause": str(i.cause),
        "state": str(i.state),
        "action": str(case.action),
        "hold": str(i.hold or "none"),
        "reason": i.reason,
        "batches": len(i.batch_ids),
        "case_file": dg.MetadataValue.md(case_markdown(case, runs)),
        "metric_before": number(i.before),
        "metric_at_worst": number(case.worst),
        "metric_after": number(case.metric_after),
    }
    if (i.ended and not quiet(case)) or i.state is IncidentState.ESCALATED:
        # Only then: a tick that imports matplotlib takes 0.4 s more.
        from selfheal_assets.stages.plots import as_markdown, incident_plot

        plot = as_markdown(incident_plot(case), f"{case.metric} by batch around incident {i.id}")
        metadata["plot"] = dg.MetadataValue.md(plot)
    return dg.AssetMaterialization(
        asset_key=key(spec, "incident_report"), description=f"{i.cause}: {i.state}", metadata=metadata
    )
