"""Log a candidate in an MLflow run: a trained model in, the logged model's URI out. Never touches the registry."""

import json
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters.xgboost_trainer import XGBoostModel, load_model
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import Candidate, Model

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DECISION_TAG = "decision_id"
FILES = "selfheal_model"
"""The run's artifact folder with what `XGBoostModel.save` wrote: all that scoring needs."""
FLAVOUR = "model"
"""Name of the same booster in MLflow's own XGBoost flavour, for its UI and tools."""
LONGEST_TAG = 5_000


def run_to_use(client: "MlflowClient", experiment_id: str, decision_id: str) -> tuple["Run", bool]:
    """The run to log in, and whether it is ours to end.

    The process's active run comes first: dagster-mlflow started it and linked it to the Dagster run. Then a run that a
    killed process began for the same decision. Other runs of the decision that are still open end as KILLED.
    """
    import mlflow

    active = mlflow.active_run()
    places = {experiment_id, active.info.experiment_id} if active else {experiment_id}
    earlier = client.search_runs(sorted(places), f"tags.{DECISION_TAG} = '{decision_id}'")
    current = client.get_run(active.info.run_id) if active else None
    # A process that retrains twice may still hold the run of its first decision: that one is left alone.
    if current is not None and current.data.tags.get(DECISION_TAG, decision_id) == decision_id:
        chosen, own = current, False
    elif earlier:
        chosen, own = earlier[0], True
        client.update_run(chosen.info.run_id, status="RUNNING")
    else:
        chosen, own = client.create_run(experiment_id, tags={DECISION_TAG: decision_id}, run_name=decision_id), True
    for run in earlier:
        if run.info.run_id != chosen.info.run_id and run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")
    return chosen, own


def end_run(client: "MlflowClient", run_id: str) -> None:
    """FINISHED, unless it is the process's active run: whoever began that one ends it."""
    import mlflow

    active = mlflow.active_run()
    if (active is None or active.info.run_id != run_id) and client.get_run(run_id).info.status == "RUNNING":
        client.set_terminated(run_id, "FINISHED")


def log_candidate(client: "MlflowClient", run: "Run", spec: ModelSpec, model: Model, candidate: Candidate) -> str:
    """Facts and files; the URI `models:/<id>` of the logged model. Doing it again completes what is there."""
    _log_facts(client, run, spec, candidate)
    with tempfile.TemporaryDirectory(prefix="selfheal-register-") as scratch:
        folder = Path(scratch, FILES)
        model.save(folder)
        client.log_artifacts(run.info.run_id, str(folder), FILES)
        return _log_flavour(client, run, load_model(folder), candidate)


def candidate_tags(spec: ModelSpec, candidate: Candidate) -> dict[str, str]:
    """What a run and a version say about their origin; metrics as `metric.<name>`, to be read without the run."""
    batches = json.dumps(list(candidate.batch_ids))
    tags = {
        **{name: value[:LONGEST_TAG] for name, value in candidate.origin.items()},
        DECISION_TAG: candidate.decision_id,
        "data_hash": candidate.data_hash,
        "spec_fingerprint": spec.fingerprint(),
        # MLflow would cut a longer tag in the middle of an id; candidate.json has them all.
        "batch_ids": batches if len(batches) <= LONGEST_TAG else f"{len(candidate.batch_ids)}: candidate.json",
    }
    return tags | {f"metric.{name}": repr(float(value)) for name, value in candidate.metrics.items()}


def _log_facts(client: "MlflowClient", run: "Run", spec: ModelSpec, candidate: Candidate) -> None:
    from mlflow.entities import Metric, RunTag

    now = int(time.time() * 1000)
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(name, float(value), now, 0) for name, value in candidate.metrics.items()],
        tags=[RunTag(key, value) for key, value in candidate_tags(spec, candidate).items()],
    )
    _log_parameters(client, run, candidate.parameters)
    document = {
        "decision_id": candidate.decision_id,
        "spec_fingerprint": spec.fingerprint(),
        "parameters": dict(candidate.parameters),
        "metrics": dict(candidate.metrics),
        "batch_ids": list(candidate.batch_ids),
        "data_hash": candidate.data_hash,
        "origin": dict(candidate.origin),
    }
    client.log_text(run.info.run_id, json.dumps(document, indent=1, default=str), "candidate.json")


def _log_parameters(client: "MlflowClient", run: "Run", parameters: Any) -> None:
    """Within MLflow's limits on names, lengths and numbers; candidate.json has them in full."""
    from mlflow.entities import Param
    from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, MAX_PARAM_VAL_LENGTH, MAX_PARAMS_TAGS_PER_BATCH

    names = {re.sub(r"[^\w.\-/: ]", "_", str(key))[:MAX_ENTITY_KEY_LENGTH]: value for key, value in parameters.items()}
    # A parameter cannot be changed: those of an earlier try stand.
    new = [Param(name, str(value)[:MAX_PARAM_VAL_LENGTH]) for name, value in names.items()]
    new = [parameter for parameter in new if parameter.key not in run.data.params]
    for start in range(0, len(new), MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run.info.run_id, params=new[start : start + MAX_PARAMS_TAGS_PER_BATCH])


def _log_flavour(client: "MlflowClient", run: "Run", model: XGBoostModel, candidate: Candidate) -> str:
    import mlflow
    import numpy
    import pandas
    import xgboost
    from mlflow.models import infer_signature

    # log_model speaks to the process-wide server; dagster-mlflow reads the variable that this exports.
    mlflow.set_tracking_uri(client.tracking_uri)
    # Created by us: log_model would put it into whichever experiment the process used last.
    place, run_id = run.info.experiment_id, run.info.run_id
    for begun in client.search_logged_models([place], filter_string=f"source_run_id = '{run_id}'"):
        if begun.status == "READY":
            return f"models:/{begun.model_id}"
        # Of a try that was killed. MLflow cannot log into it again.
        client.delete_logged_model(begun.model_id)
    logged = client.create_logged_model(place, name=FLAVOUR, source_run_id=run_id)
    sample = candidate.sample[list(model.schema.names)]
    mlflow.xgboost.log_model(
        model.booster,
        name=FLAVOUR,
        model_id=logged.model_id,
        run_id=run_id,
        model_format="ubj",
        signature=infer_signature(sample, model.score(sample)),
        pip_requirements=[f"{package.__name__}=={package.__version__}" for package in (numpy, pandas, xgboost)],
    )
    return f"models:/{logged.model_id}"
