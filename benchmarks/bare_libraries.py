"""Great Expectations, Feast and MLflow as a plain script calls them: our declarations in, their answers out. Bare."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfheal_assets.adapters import feast_frames as frames
from selfheal_assets.adapters.feast_repository import REPOSITORY, ServicePlan, open_store, plan_service, quiet
from selfheal_assets.adapters.feast_transforms import compute_features
from selfheal_assets.adapters.gx_expectations import CheckedBatch, frame_of
from selfheal_assets.adapters.gx_project import open_project
from selfheal_assets.adapters.xgboost_trainer import XGBoostModel, load_model
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.quality import Check
from selfheal_assets.ports import CheckContext, FrameRows, TunedParameters
from selfheal_assets.project import PROJECT

if TYPE_CHECKING:
    import pandas as pd

FORMAT = {"result_format": "COMPLETE", "partial_unexpected_count": 10, "return_unexpected_index_query": False}
"""COMPLETE: it names the failing rows, which are to be taken out."""
FILES = "selfheal_model"
"""Where the loop logs a model's own files, in its MLflow run."""


def planned(
    spec: ModelSpec,
    rows: "pd.DataFrame",
    checks: Sequence[Check],
    reference: "pd.DataFrame",
    earlier: "Callable[[str, pd.Series], pd.Series]",
) -> CheckedBatch:
    """The declared checks as expectations over the rows; SQL checks are answered by DuckDB right here."""
    context = CheckContext(
        model=spec.name,
        batch_id="bare",
        now=datetime.now(UTC),
        event_timestamp=spec.data.event_timestamp,
        reference=reference,
        earlier=earlier,
    )
    batch = CheckedBatch(FrameRows(rows), context)
    for check in checks:
        batch.plan(check)
    return batch


def validate(batch: CheckedBatch) -> set[int]:
    """Rows that fail an expectation of severity error, by Great Expectations over pandas: a suite a frame."""
    from great_expectations.core import ExpectationSuite

    source = open_project(None).data_sources.add_pandas("bare")
    failing: set[int] = set()
    for name, frame in batch.frames.items():
        wanted = [e for check, found in batch.planned if frame_of(check) == name for e in found]
        if not wanted:
            continue
        whole = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
        suite = ExpectationSuite(name=name, expectations=wanted)
        for result in whole.get_batch({"dataframe": frame}).validate(suite, result_format=FORMAT).results:
            config = result.expectation_config
            if not result.success and config is not None and str(config.severity).endswith("critical"):
                failing.update(result.result.get("unexpected_index_list") or ())
    return failing


def failing_rows(
    spec: ModelSpec,
    rows: "pd.DataFrame",
    checks: Sequence[Check],
    reference: "pd.DataFrame",
    earlier: "Callable[[str, pd.Series], pd.Series]",
) -> set[int]:
    """Plan and validate: positions of the rows that may not go on."""
    return validate(planned(spec, rows, checks, reference, earlier))


class Features:
    """A model's Feast feature service and its SQL, called directly."""

    def __init__(self, home: Path, spec: ModelSpec, roots: Sequence[Path] = (PROJECT,)) -> None:
        self._home, self._spec, self._roots = home, spec, roots

    @cached_property
    def _store(self) -> Any:
        return open_store(self._roots, self._home)

    @cached_property
    def _service(self) -> "tuple[Any, ServicePlan]":
        service = self._store.get_feature_service(self._spec.features.service)
        views = {view.name: view for view in self._store.list_all_feature_views()}
        return service, plan_service(service, views)

    @property
    def names(self) -> list[str]:
        return [*self._spec.features.request, *self._service[1].features]

    def offline_file(self, batch_id: str) -> Path:
        return self._home / "features" / self._spec.name / f"{batch_id}.parquet"

    def compute(self, batch_id: str, rows: "pd.DataFrame", history: Sequence[Path]) -> None:
        """Run the model's SQL by DuckDB into the Parquet file that Feast joins with."""
        sql = Path(REPOSITORY, "transforms", f"{self._spec.name}.sql")
        file = next(root / sql for root in reversed(self._roots) if (root / sql).is_file())
        views = self._service[1].history
        timestamp = self._spec.data.event_timestamp
        compute_features(
            file.read_text(encoding="utf-8"),
            frames.utc(rows, timestamp),
            history,
            timestamp,
            frames.published_columns(views),
            frames.join_keys(views),
            self.offline_file(batch_id),
        )

    def entity_frame(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        return frames.entity_frame(self._spec, self._service[1], rows)

    def historical(self, asked: "pd.DataFrame") -> "pd.DataFrame":
        """Feast's point-in-time join, as it answers."""
        with quiet():
            joined: pd.DataFrame = self._store.get_historical_features(
                entity_df=asked, features=self._service[0]
            ).to_df()
        return joined

    def join(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """The model's features of the rows, in their order."""
        joined = frames.in_order(self.historical(self.entity_frame(rows)), len(rows))
        return frames.assemble(self._spec, self._service[1], rows, joined)


class Registry:
    """MLflow's registry, called directly."""

    def __init__(self, home: Path, spec: ModelSpec) -> None:
        self._uri, self._name = f"sqlite:///{home / 'mlflow' / 'mlflow.db'}", spec.name

    @cached_property
    def _client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    @cached_property
    def _serving(self) -> Any:
        return self._client.get_model_version_by_alias(self._name, "champion")

    @property
    def version(self) -> str:
        return str(self._serving.version)

    @cached_property
    def champion(self) -> XGBoostModel:
        with tempfile.TemporaryDirectory() as folder:
            return load_model(Path(self._client.download_artifacts(self._serving.run_id, FILES, folder)))

    def register(
        self,
        model: XGBoostModel,
        tuned: TunedParameters,
        sample: "pd.DataFrame",
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> tuple[str, Path]:
        """Log the model, its own files, parameters, metrics and signature; the new version and its files."""
        import mlflow
        import xgboost
        from mlflow.models import infer_signature

        mlflow.set_tracking_uri(self._uri)
        mlflow.set_experiment(self._name)
        with mlflow.start_run(tags=dict(tags)) as run, tempfile.TemporaryDirectory() as scratch:
            mlflow.log_params({**tuned.parameters, "window": tuned.window})
            mlflow.log_metrics(dict(metrics))
            model.save(Path(scratch, FILES))
            mlflow.log_artifacts(str(Path(scratch, FILES)), FILES)
            logged = mlflow.xgboost.log_model(
                model.booster,
                name="model",
                model_format="ubj",
                signature=infer_signature(sample, model.score(sample)),
                pip_requirements=[f"xgboost=={xgboost.__version__}"],
            )
        version = self._client.create_model_version(
            self._name, logged.model_uri, run.info.run_id, tags=dict(tags), model_id=logged.model_id
        )
        self._client.set_registered_model_alias(self._name, "challenger", version.version)
        return str(version.version), Path(self._client.download_artifacts(run.info.run_id, FILES))

    def promote(self, version: str) -> None:
        """The alias moves: the champion becomes the previous one, the version the champion."""
        self._client.set_registered_model_alias(self._name, "previous", self.version)
        self._client.set_registered_model_alias(self._name, "champion", version)
