"""What every model registry keeps to, the one in memory as the one on MLflow: identity, aliases, versions, files."""

import dataclasses
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from servers import KEYS, ObjectStore, Postgres

from selfheal_assets.adapters.in_memory import InMemoryRegistry
from selfheal_assets.adapters.mlflow_registry import MlflowRegistry
from selfheal_assets.adapters.turns import DatabaseTurns
from selfheal_assets.adapters.xgboost_trainer import XGBoostModel, XGBoostTrainer, load_model
from selfheal_assets.core.errors import AliasConflictError, RegistryError
from selfheal_assets.core.model_spec import DataSpec, FeaturesSpec, ModelSpec, TrainingSpec
from selfheal_assets.ports import Candidate, LabelledRows, ModelRegistry, TunedParameters

ROWS = pd.DataFrame({"amount": np.tile(np.linspace(-2.0, 2.0, 40), 6), "distance": np.tile([0.0, 1.0, 2.0], 80)})


def spec(name: str) -> ModelSpec:
    return ModelSpec(
        name=name,
        description="A learnable toy.",
        owners=("team:tests",),
        data=DataSpec(event_id="id", event_timestamp="at", label="y", entities=("account",)),
        features=FeaturesSpec(service="toy"),
        training=TrainingSpec(min_rows=200, max_boost_rounds=3),
    )


def candidate(decision_id: str, **changes: Any) -> Candidate:
    whole = Candidate(
        decision_id=decision_id,
        parameters={"max_depth": 2},
        metrics={"roc_auc": 0.91},
        batch_ids=("b0", "b1"),
        data_hash="abc123",
        origin={"trigger": "incident 1a: harmful_drift", "approval": "approved by ada", "decision_id": "not this"},
        sample=ROWS.head(5),
    )
    return dataclasses.replace(whole, **changes)


@pytest.fixture(scope="module")
def model() -> XGBoostModel:
    rows = LabelledRows(
        features=ROWS,
        label=(ROWS["amount"] > 0.1).astype(int).to_numpy(),
        event_id=np.arange(len(ROWS)),
        batch_id=np.repeat("b0", len(ROWS)),
        event_time=np.datetime64("2026-01-01", "us") + np.arange(len(ROWS)),
    )
    return XGBoostTrainer().train(spec("toy"), rows, TunedParameters(parameters={"max_depth": 2}, window=1, score=1.0))


@pytest.fixture(scope="module")
def in_memory_registry(tmp_path_factory: pytest.TempPathFactory) -> InMemoryRegistry:
    return InMemoryRegistry(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def mlflow_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowRegistry]:
    folder = tmp_path_factory.mktemp("mlflow")
    made = MlflowRegistry(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    made.initialise()
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        # MLflow exports the variable; this puts back what was there.
        patched.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        yield made


@pytest.fixture(scope="module")
def stack_registry(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, objects: ObjectStore
) -> Iterator[MlflowRegistry]:
    """In PostgreSQL, with its files in the object store, and turns kept by the database."""
    url = postgres.url("mlflow")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path_factory.mktemp("stack"))
        for name, value in {
            "MLFLOW_TRACKING_URI": url,
            "MLFLOW_S3_ENDPOINT_URL": objects.endpoint,
            "AWS_ACCESS_KEY_ID": KEYS["key"],
            "AWS_SECRET_ACCESS_KEY": KEYS["secret"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patched.setenv(name, value)
        made = MlflowRegistry(url, objects.bucket("registry"), DatabaseTurns(postgres.url("turns")))
        made.initialise()
        made.initialise(["toy"])
        yield made


def numbers(versions: Sequence[Any]) -> list[str]:
    return [found.version for found in versions]


class RegistryContract(ABC):
    """One class for the port; each adapter's test class says where its registry comes from."""

    @pytest.fixture
    @abstractmethod
    def registry(self) -> ModelRegistry:
        """Shared by the tests: each registers a model of its own."""

    def test_what_was_never_registered_reads_as_nothing(self, registry: ModelRegistry) -> None:
        assert registry.versions("absent") == []
        assert registry.by_alias("absent", "champion") is None

    def test_a_version_tells_where_it_comes_from(self, registry: ModelRegistry, model: XGBoostModel) -> None:
        version = registry.register(spec("origin"), model, candidate("d1"))
        assert (version.model, version.aliases) == ("origin", ("challenger",))
        assert version.created_at.utcoffset() is not None
        wanted = {"decision_id": "d1", "data_hash": "abc123", "spec_fingerprint": spec("origin").fingerprint()}
        wanted |= {"metric.roc_auc": "0.91", "batch_ids": '["b0", "b1"]'}
        wanted |= {"trigger": "incident 1a: harmful_drift", "approval": "approved by ada"}
        assert wanted.items() <= dict(version.tags).items()
        assert registry.by_alias("origin", "challenger") == version
        assert registry.by_alias("origin", "champion") is None
        assert registry.versions("origin") == [version]
        assert registry.link(version)

    def test_a_decision_is_registered_once(self, registry: ModelRegistry, model: XGBoostModel) -> None:
        first = registry.register(spec("once"), model, candidate("d1"))
        again = registry.register(spec("once"), model, candidate("d1", data_hash="other", metrics={"roc_auc": 0.1}))
        assert again == first, "what was logged first stands"
        second = registry.register(spec("once"), model, candidate("d2"))
        assert numbers(registry.versions("once")) == [second.version, first.version]
        late = registry.register(spec("once"), model, candidate("d1"))
        assert late.version == first.version
        assert late.aliases == ()
        assert registry.by_alias("once", "challenger").version == second.version, "a repeat takes no alias back"

    def test_versions_are_newest_first_beyond_nine(self, registry: ModelRegistry, model: XGBoostModel) -> None:
        made = [registry.register(spec("many"), model, candidate(f"d{n}")).version for n in range(11)]
        assert numbers(registry.versions("many")) == made[::-1]
        assert len(set(made)) == 11

    def test_models_do_not_mix(self, registry: ModelRegistry, model: XGBoostModel) -> None:
        one = registry.register(spec("one"), model, candidate("d"))
        other = registry.register(spec("one_more"), model, candidate("d"))
        registry.move_alias("one", "champion", one.version, expected=None)
        assert registry.by_alias("one_more", "champion") is None
        assert numbers(registry.versions("one_more")) == [other.version]

    def test_an_alias_moves_only_from_where_it_is_expected(self, registry: ModelRegistry, model: XGBoostModel) -> None:
        one, two = (registry.register(spec("swap"), model, candidate(f"d{n}")).version for n in (1, 2))
        with pytest.raises(AliasConflictError, match=rf"must be on version {two} .* is on none"):
            registry.move_alias("swap", "champion", one, expected=two)
        assert registry.by_alias("swap", "champion") is None
        registry.move_alias("swap", "champion", one, expected=None)
        with pytest.raises(AliasConflictError, match=rf"must be on version none .* is on {one}"):
            registry.move_alias("swap", "champion", two, expected=None)
        registry.move_alias("swap", "champion", two, expected=one)
        assert registry.by_alias("swap", "champion").version == two
        assert registry.by_alias("swap", "challenger").version == two, "another alias stays"

    def test_moving_twice_changes_nothing(self, registry: ModelRegistry, model: XGBoostModel) -> None:
        one, two = (registry.register(spec("repeat"), model, candidate(f"d{n}")).version for n in (1, 2))
        registry.move_alias("repeat", "champion", one, expected=None)
        registry.move_alias("repeat", "champion", one, expected=None)
        registry.move_alias("repeat", "champion", one, expected=two)
        assert registry.by_alias("repeat", "champion").version == one
        assert registry.by_alias("repeat", "champion").aliases == ("champion",)

    def test_one_version_may_have_several_aliases(self, registry: ModelRegistry, model: XGBoostModel) -> None:
        version = registry.register(spec("several"), model, candidate("d")).version
        registry.move_alias("several", "champion", version, expected=None)
        registry.move_alias("several", "previous", version, expected=None)
        assert registry.by_alias("several", "previous").aliases == ("challenger", "champion", "previous")
        assert registry.versions("several")[0].aliases == ("challenger", "champion", "previous")

    def test_an_alias_cannot_point_to_nothing(self, registry: ModelRegistry, model: XGBoostModel) -> None:
        registry.register(spec("nothing"), model, candidate("d"))
        with pytest.raises(RegistryError, match="version 99"):
            registry.move_alias("nothing", "champion", "99", expected=None)
        assert registry.by_alias("nothing", "champion") is None

    def test_of_many_movers_one_wins(self, registry: ModelRegistry, model: XGBoostModel) -> None:
        made = [registry.register(spec("race"), model, candidate(f"d{n}")).version for n in range(4)]
        lost: list[str] = []

        def move(version: str) -> None:
            try:
                registry.move_alias("race", "champion", version, expected=None)
            except AliasConflictError:
                lost.append(version)

        movers = [threading.Thread(target=move, args=(version,)) for version in made]
        for mover in movers:
            mover.start()
        for mover in movers:
            mover.join()
        assert sorted([*lost, registry.by_alias("race", "champion").version]) == sorted(made)

    def test_tags_are_added_and_replaced(self, registry: ModelRegistry, model: XGBoostModel) -> None:
        version = registry.register(spec("tags"), model, candidate("d"))
        registry.tag(version, {"gate": "FAIL", "seen": "yes"})
        registry.tag(version, {"gate": "PASS"})
        tags = registry.by_alias("tags", "challenger").tags
        assert (tags["gate"], tags["seen"], tags["decision_id"]) == ("PASS", "yes", "d")

    def test_a_model_comes_back_with_its_scores(self, registry: ModelRegistry, model: XGBoostModel) -> None:
        version = registry.register(spec("scores"), model, candidate("d"))
        np.testing.assert_allclose(registry.load(version).score(ROWS), model.score(ROWS))
        np.testing.assert_allclose(load_model(registry.folder(version)).score(ROWS), model.score(ROWS))

    def test_a_document_stays_with_its_version(self, registry: ModelRegistry, model: XGBoostModel) -> None:
        one, two = (registry.register(spec("documents"), model, candidate(f"d{n}")) for n in (1, 2))
        assert registry.kept(one, "probe") is None
        before = registry.folder(one)
        document = {"columns": {"amount": [1.5, None], "device": ["é", "b"]}, "scores": [0.1 + 0.2, 1e-300]}
        registry.keep(one, "probe", {"scores": []})
        registry.keep(one, "probe", document)
        assert registry.kept(one, "probe") == document, "the last one stands, to the last digit"
        assert registry.kept(one, "other") is None
        assert registry.kept(two, "probe") is None
        assert json.loads((registry.folder(one) / "probe.json").read_text(encoding="utf-8")) == document
        assert registry.folder(one) == before
        np.testing.assert_allclose(load_model(registry.folder(one)).score(ROWS), model.score(ROWS))

    def test_a_version_that_is_not_there_is_refused(self, registry: ModelRegistry, model: XGBoostModel) -> None:
        version = registry.register(spec("lost"), model, candidate("d"))
        absent = dataclasses.replace(version, version="42", run_id="0" * 32)
        for call in (
            registry.load,
            registry.folder,
            lambda gone: registry.tag(gone, {"gate": "PASS"}),
            lambda gone: registry.keep(gone, "probe", {}),
            lambda gone: registry.kept(gone, "probe"),
        ):
            with pytest.raises(RegistryError, match=r"lost (version )?42"):
                call(absent)


class TestInMemoryRegistry(RegistryContract):
    @pytest.fixture
    def registry(self, in_memory_registry: InMemoryRegistry) -> ModelRegistry:
        return in_memory_registry


class TestMlflowRegistry(RegistryContract):
    @pytest.fixture
    def registry(self, mlflow_registry: MlflowRegistry) -> ModelRegistry:
        return mlflow_registry


class TestMlflowRegistryOnServices(RegistryContract):
    @pytest.fixture
    def registry(self, stack_registry: MlflowRegistry) -> ModelRegistry:
        return stack_registry
