"""Link a Dagster run to an MLflow run through dagster-mlflow, opened when it is used. Never logs a thing itself."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from selfheal_assets.ports import MlflowRun


def mlflow_run(tracking_uri: str) -> dg.ResourceDefinition:
    """A resource: a function from an experiment's name to the Dagster run's MLflow run, ended with the right status.

    dagster-mlflow is imported at the first use, as it imports MLflow (1.2 s), which most runs never need.
    """

    @dg.resource(description="dagster-mlflow's run link")
    def link(context: dg.InitResourceContext) -> MlflowRun:
        @contextmanager
        def opened(experiment: str) -> Iterator[None]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dg.BetaWarning)
                from dagster_mlflow import mlflow_tracking

                config = {
                    "experiment_name": experiment,
                    "mlflow_tracking_uri": tracking_uri,
                    "env": {},
                    "extra_tags": {},
                }
                tracked = contextmanager(mlflow_tracking.resource_fn)(context.replace_config(config))
                with tracked as mlflow:
                    try:
                        yield
                    except BaseException:
                        mlflow.end_run(status="FAILED")
                        raise
                    mlflow.end_run()

        return opened

    return link
