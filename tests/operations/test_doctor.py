"""The doctor says what works, what does not and what mends it, over real services, and never a secret."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from servers import CANARY, QUOTED, ObjectStore, Postgres, Redis
from stack import environment
from typer.testing import CliRunner

from selfheal_assets.cli import app
from selfheal_assets.operations.doctor import Checked, examine
from selfheal_assets.operations.run_lookup import home_instance
from selfheal_assets.wiring import Services


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What one test makes of the environment ends with it."""
    for name in list(os.environ):
        if name.startswith(("SELFHEAL_", "AWS_", "MLFLOW_", "DAGSTER_")):
            monkeypatch.delenv(name)
    # Set by our own code: this puts back what was there.
    for name in ("MLFLOW_S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name in ("DAGSTER_HOME", "DAGSTER_POSTGRES_URL", "SELFHEAL_OVERLAYS", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("SELFHEAL_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def stack(
    postgres: Postgres, redis: Redis, objects: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    return environment(postgres, redis, objects, tmp_path_factory.mktemp("stack") / "secrets")


@pytest.fixture
def used(stack: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in stack.items():
        monkeypatch.setenv(name, value)
    return stack


def said(*arguments: str) -> tuple[int, str]:
    """The exit code and the output; nowhere in it, or in what was raised, is a password."""
    result = CliRunner().invoke(app, [*arguments])
    assert CANARY not in result.output + repr(result.exception) + repr(result.exc_info)
    return result.exit_code, result.output


def wrong() -> dict[str, Checked]:
    return {found.name: found for found in examine() if not found.is_well}


class TestEmbedded:
    def test_a_home_that_was_never_made(self) -> None:
        code, output = said("doctor")
        assert code == 1
        assert "wrong ledger: sqlite:///" in output
        assert output.count("Run `selfheal init`.") >= 3

    def test_all_is_well_after_init(self) -> None:
        assert said("init")[0] == 0
        code, output = said("doctor")
        assert (code, wrong()) == (0, {})
        assert "SELFHEAL_ENV=local: SELFHEAL_HOME" in output
        assert "kept by files of the home: one machine" in output

    def test_an_instance_that_others_keep(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As on Kubernetes: `selfheal init` makes none of its own, and everything looks for runs there."""
        folder = tmp_path / "instance"
        monkeypatch.setenv("SELFHEAL_DAGSTER_HOME", str(folder))
        assert said("init")[0] == 0
        assert not (tmp_path / "home" / "dagster").exists()
        assert wrong()["Dagster storage"].remedy == "Put it there, or correct SELFHEAL_DAGSTER_HOME."
        folder.mkdir()
        (folder / "dagster.yaml").write_text(
            "storage: {postgres: {postgres_url: postgresql+psycopg2://no:one@127.0.0.1:9/x}}"
        )
        assert "`dagster instance migrate` was run" in wrong()["Dagster storage"].remedy
        (folder / "dagster.yaml").write_text("telemetry: {enabled: false}")
        with dg.DagsterInstance.get() as instance:
            instance.add_run(dg.DagsterRun(job_name="payments_retrain"))
        assert wrong() == {}
        assert f"{folder}: 1 runs" in " ".join(said("doctor")[1].split())
        with home_instance(Services.from_environment()) as instance:
            assert instance.get_runs_count() == 1

    def test_a_misspelt_variable_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SELFHEAL_LEGDER_URL", "postgresql://selfheal:nightingale@db/x")
        assert "nothing reads SELFHEAL_LEGDER_URL" in wrong()["settings"].detail
        assert said("doctor")[0] == 1

    def test_production_does_not_fall_back_to_the_disk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SELFHEAL_ENV", "production")
        code, output = said("doctor")
        assert code == 1
        assert "in production SELFHEAL_LEDGER_URL, SELFHEAL_MLFLOW_URL," in output
        for command in ("init", "status"):
            code, output = said(command)
            assert code == 1
            assert "SELFHEAL_STORE_ROOT must be set" in output

    def test_a_service_that_fails_unforeseen_does_not_hide_the_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SELFHEAL_ONLINE_STORE_URL", "redis://:nightingale@/0")
        found = wrong()
        assert found["Feast online store"].detail.startswith("SpecError: ")
        assert "batches" in {each.name for each in examine()}
        assert said("doctor")[0] == 1


class TestServices:
    def test_the_way_from_nothing_to_well(self, used: dict[str, str]) -> None:
        code, output = said("doctor")
        assert code == 1
        found = wrong()
        assert set(found) == {"home", "Dagster storage", "ledger", "MLflow tracking", "Feast registry"}
        assert "must be of version 0001; it is not made" in found["ledger"].detail
        assert all("selfheal init" in each.remedy for each in found.values())
        assert said("init")[0] == 0
        code, output = said("doctor")
        assert (code, wrong()) == (0, {}), output
        assert "ledger version 0001" in output
        assert "redis " in output
        assert "conditional writes hold" in output
        assert "selfheal:***@127.0.0.1" in output
        assert "kept by the ledger's database, over machines" in output
        assert set(used) >= {"SELFHEAL_LEDGER_URL_FILE"}

    def test_a_wrong_password(self, used: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("SELFHEAL_MLFLOW_URL", "SELFHEAL_ONLINE_STORE_URL", "SELFHEAL_TUNING_URL"):
            monkeypatch.setenv(name, used[name].replace(QUOTED, "nightingale-wrong"))
        found = wrong()
        assert set(found) >= {"MLflow tracking", "Feast online store", "tuning"}
        assert "password authentication failed" in found["MLflow tracking"].detail
        assert "that the password is right" in found["Feast online store"].remedy
        assert CANARY not in repr(found)
        assert said("doctor")[0] == 1
        assert said("init")[0] == 1

    def test_a_user_who_may_not(
        self, used: dict[str, str], postgres: Postgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import psycopg2

        with psycopg2.connect(postgres.address("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("drop role if exists reader")
            cursor.execute("create role reader login password 'nightingale-two'")
            cursor.execute("revoke create on schema public from public")
        connection.close()
        address = f"postgresql://reader:nightingale-two@127.0.0.1:{postgres.port}/postgres"
        monkeypatch.setenv("SELFHEAL_TUNING_URL", address)
        found = wrong()["tuning"]
        assert "user reader may not make tables in schema public of postgres" in found.detail
        assert found.remedy == 'As its owner: grant create, usage on schema public to "reader";'
        assert set(used) >= {"SELFHEAL_TUNING_URL"}

    def test_services_that_are_away(self, used: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SELFHEAL_ONLINE_STORE_URL", f"redis://:{QUOTED}@127.0.0.1:9/0")
        monkeypatch.setenv("SELFHEAL_MLFLOW_URL", "http://ada:nightingale@127.0.0.1:9")
        monkeypatch.setenv("SELFHEAL_TUNING_URL", f"postgresql://selfheal:{QUOTED}@127.0.0.1:9/x")
        monkeypatch.setenv("SELFHEAL_STORE_ROOT", "s3://no-such-bucket/x")
        found = wrong()
        assert set(found) >= {"Feast online store", "MLflow tracking", "tuning", "batches"}
        assert "Connection refused" in found["MLflow tracking"].detail
        assert "the bucket is there" in found["batches"].remedy
        assert CANARY not in repr(found)
        assert set(used) >= {"SELFHEAL_STORE_ROOT"}
