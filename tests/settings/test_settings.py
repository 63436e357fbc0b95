"""The settings: every variable and its file, what is refused, and that no refusal and no text shows a secret."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfheal_assets.adapters.places import Places
from selfheal_assets.core.errors import SpecError
from selfheal_assets.operations.configuration_document import DOCUMENT, renewed
from selfheal_assets.secrecy import discreet
from selfheal_assets.settings import REQUIRED, Settings, embedded, plain, settings_from_environment, variable

ADDRESS = "postgresql://ada:canary@db:5432/ledger"
DRIVEN = "postgresql+psycopg2://ada:canary@db:5432/ledger"
PRODUCTION = {
    "ledger_url": ADDRESS,
    "mlflow_url": "https://mlflow.example",
    "mlflow_artifacts": "s3://models/mlflow",
    "feast_registry_url": ADDRESS,
    "online_store_url": "redis://:canary@redis:6379/0",
    "tuning_url": ADDRESS,
    "store_root": "s3://models/selfheal",
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SELFHEAL_"):
            monkeypatch.delenv(name)


def test_nothing_set_is_all_embedded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    found = settings_from_environment()
    home = tmp_path / ".selfheal"
    assert found == embedded(home)
    places = Places(found)
    assert places.ledger_url == f"sqlite:///{home}/ledger.db"
    assert places.tracking_uri == f"sqlite:///{home}/mlflow/mlflow.db"
    assert places.artifacts == home / "mlflow" / "artifacts"
    assert (places.tuning_url, places.alone, places.environment()) == (None, None, {})
    assert places.feast.applied({"registry": {"path": "x"}, "project": "p"}) == {
        "registry": {"path": "x"},
        "project": "p",
    }


def test_every_field_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = settings_from_environment()
    values = {
        **PRODUCTION,
        "home": "/elsewhere",
        "dagster_storage_url": ADDRESS,
        "dagster_home": "/opt/dagster/home",
        "s3_endpoint_url": "http://minio:9000",
        "s3_region": "eu-north-1",
        "s3_access_key_id": "canary-id",
        "s3_secret_access_key": "canary-key",
        "serving": "kubernetes",
        "executor": "k8s_job",
        "dagster_url": "http://dagster.example",
        "keep_runs_days": "30.0",
        "env": "production",
    }
    assert set(values) == set(Settings.model_fields)
    for name, value in values.items():
        monkeypatch.setenv(variable(name), value)
    found = settings_from_environment()
    assert all(getattr(found, name) != getattr(usual, name) for name in values)
    assert "canary" not in f"{found!r} {found}"


def test_every_service_has_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(variable(name), value)
    places = Places(settings_from_environment())
    assert places.ledger_url == places.tuning_url == DRIVEN
    assert places.tracking_uri == "https://mlflow.example"
    assert places.artifacts == "s3://models/mlflow"
    applied = places.feast.applied({"registry": {"registry_type": "sql", "cache_ttl_seconds": 60}, "project": "p"})
    assert applied["registry"]["path"] == DRIVEN
    assert applied["registry"]["cache_ttl_seconds"] == 60
    assert applied["online_store"]["type"] == "redis"
    assert places.alone is not None


@pytest.mark.parametrize("missing", REQUIRED)
def test_production_embeds_nothing(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setenv("SELFHEAL_ENV", "production")
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(variable(name), "" if name == missing else value)
    with pytest.raises(SpecError, match=f"in production {variable(missing)} must be set"):
        settings_from_environment()
    monkeypatch.setenv(variable(missing), PRODUCTION[missing])
    assert settings_from_environment().env == "production"


def test_a_secret_stands_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    monkeypatch.setenv("SELFHEAL_LEDGER_URL_FILE", str(file))
    with pytest.raises(SpecError, match=r"SELFHEAL_LEDGER_URL_FILE must name a readable file; received '.*secret'"):
        settings_from_environment()
    file.write_text("  \n")
    with pytest.raises(SpecError, match="must hold a value"):
        settings_from_environment()
    file.write_text(f"{ADDRESS}\n")
    assert plain(settings_from_environment().ledger_url) == DRIVEN
    monkeypatch.setenv("SELFHEAL_LEDGER_URL", "sqlite:///first.db")
    assert plain(settings_from_environment().ledger_url) == "sqlite:///first.db"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEDGER_URL", "mysql://ada:canary@db/x"),
        ("LEDGER_URL", "canary"),
        ("DAGSTER_STORAGE_URL", "sqlite:///canary.db"),
        ("ONLINE_STORE_URL", "http://:canary@redis"),
        ("STORE_ROOT", "gs://canary/x"),
        ("ENV", "canary"),
        ("SERVING", "canary"),
        ("S3_SECRET_ACCESS_KEY", "canary"),
    ],
)
def test_what_is_refused_is_not_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"SELFHEAL_{name}", value)
    with pytest.raises(SpecError, match="Settings must be complete and valid") as told:
        settings_from_environment()
    assert name in str(told.value)
    assert "canary" not in f"{told.value!r} {told.value.__cause__!r} {told.value.__context__!r}"


def test_the_document_is_current() -> None:
    """`selfheal policy --write` renews it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert renewed(text) == text


def test_reading_the_settings_loads_nothing_heavy() -> None:
    script = "import sys, selfheal_assets.settings as s; s.settings_from_environment(); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"sqlalchemy", "boto3", "s3fs", "redis", "mlflow", "dagster"}.isdisjoint(ran.stdout.split())


class TestDiscreet:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("postgresql://ada:pw@db/x", "postgresql://ada:***@db/x"),
            ("redis://:p@w@db:1/0 and http://u:v@h", "redis://:***@db:1/0 and http://u:***@h"),
            ("host=db password=pw dbname=x", "host=db password=*** dbname=x"),
            ("{'password': 'pw', 'port': 1}", "{'password': ***, 'port': 1}"),
            ("http://db:5432/x", "http://db:5432/x"),
            ("no password here", "no password here"),
        ],
    )
    def test_a_password_is_not_shown(self, text: str, shown: str) -> None:
        assert discreet(text) == shown

    @given(st.text(st.characters(categories=["L", "N"], codec="ascii"), min_size=8), st.text(max_size=30))
    def test_wherever_the_address_stands(self, password: str, around: str) -> None:
        word = f"canary{password}"
        assert word not in discreet(f"{around} postgresql://ada:{word}@db/x {around}")
