"""Fit one model by all workers of a Dask cluster: encoded rows in, a Booster out. Never tunes, never judges."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import numpy as np

from selfheal_assets.adapters.dask_cluster import DaskCluster
from selfheal_assets.adapters.feature_schema import FeatureSchema
from selfheal_assets.adapters.xgboost_boosting import early_stopping, fixed_parameters
from selfheal_assets.adapters.xgboost_trainer import XGBoostTrainer
from selfheal_assets.core.errors import TrainingError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports import LabelledRows

if TYPE_CHECKING:
    import xgboost
    from distributed import Client

LOOK_SECONDS = 2.0


class DaskTrainer(XGBoostTrainer):
    """Has the cluster fit what is large for models with `training.engine: dask`, and fits the rest here."""

    def __init__(self, cluster: DaskCluster) -> None:
        self._cluster = cluster

    def _boosted(
        self,
        spec: ModelSpec,
        parameters: Mapping[str, Any],
        schema: FeatureSchema,
        rows: LabelledRows,
        parts: tuple[np.ndarray, np.ndarray],
    ) -> "xgboost.Booster":
        if spec.training.engine != "dask" or sum(map(len, parts)) <= spec.training.distributed_rows:
            return super()._boosted(spec, parameters, schema, rows, parts)
        with self._cluster.client() as client:
            return distributed_fit(client, spec, parameters, schema, rows, parts)


def distributed_fit(
    client: "Client",
    spec: ModelSpec,
    parameters: Mapping[str, Any],
    schema: FeatureSchema,
    rows: LabelledRows,
    parts: tuple[np.ndarray, np.ndarray],
) -> "xgboost.Booster":
    """As `boost`, on the rows at the positions `parts`: (fitting, stopping).

    Every worker has an even sample of both. Its sums are rounded in another order than one process would: the trees of
    two clusters are alike, not the same. TrainingError when a worker is lost: the fit needs all of them.
    """
    from xgboost import dask as distributed_xgboost

    workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
    send = _sender(client, schema, rows, workers)

    def fit() -> "xgboost.Booster":
        # XGBoost makes its arrays and locks with the current client, not with the one that it is given.
        with client.as_current():
            train = distributed_xgboost.DaskQuantileDMatrix(client, **send(parts[0]))
            stopping = distributed_xgboost.DaskQuantileDMatrix(client, **send(parts[1]), ref=train)
            fitted: dict[str, Any] = distributed_xgboost.train(
                client,
                {**parameters, **fixed_parameters(spec, threads=None)},
                train,
                num_boost_round=spec.training.max_boost_rounds,
                evals=[(stopping, "stopping")],
                callbacks=[early_stopping(spec)],
                verbose_eval=False,
            )
        booster: xgboost.Booster = fitted["booster"]
        return booster

    return _while_all_live(client, workers, fit)


def _sender(
    client: "Client", schema: FeatureSchema, rows: LabelledRows, workers: list[str]
) -> Callable[[np.ndarray], dict[str, Any]]:
    """Sends the rows at some positions, a share to each worker, encoded share by share: never the whole at once."""
    from dask import array

    label = np.asarray(rows.label, dtype=np.float32)

    def send(positions: np.ndarray) -> dict[str, Any]:
        columns, labels = [], []
        for place, worker in enumerate(workers):
            share = positions[place :: len(workers)]
            encoded = client.scatter(schema.encode(rows.features.iloc[share]), workers=[worker], hash=False)
            known = client.scatter(label[share], workers=[worker], hash=False)
            columns.append(_block(encoded, (len(share), len(schema.names))))
            labels.append(_block(known, (len(share),)))
        return {
            "data": array.concatenate(columns),
            "label": array.concatenate(labels),
            "feature_names": list(schema.names),
            "feature_types": schema.types,
            "enable_categorical": True,
        }

    return send


def _block(future: Any, shape: tuple[int, ...]) -> Any:
    from dask import array
    from dask.delayed import delayed

    return array.from_delayed(delayed(future), shape=shape, dtype=np.float32)


def _while_all_live(client: "Client", workers: list[str], fit: "Callable[[], xgboost.Booster]") -> "xgboost.Booster":
    """The fit's result, unless a worker leaves: the others would wait for it without an end."""
    thread = ThreadPoolExecutor(max_workers=1)
    try:
        fitting = thread.submit(fit)
        while not wait([fitting], timeout=LOOK_SECONDS).done:
            _require(client, workers)
        if fitting.exception() is not None:  # Of a worker that is lost, or because of it.
            _require(client, workers)
        return fitting.result()
    finally:
        thread.shutdown(wait=False)


def _require(client: "Client", workers: list[str]) -> None:
    lost = set(workers) - set(client.scheduler_info(n_workers=-1)["workers"])
    if lost:
        raise TrainingError(
            f"Every Dask worker must live as long as the fit that it takes part in; {len(lost)} of {len(workers)} are "
            "gone: the cluster is temporarily unavailable. Train again."
        )
