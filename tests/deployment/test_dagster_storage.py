"""Dagster keeps its runs in PostgreSQL by a cluster's instance files: the driver that they name is in the image."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from servers import PASSWORD, Postgres

from selfheal_assets.project import PROJECT

DEPLOYMENT = PROJECT / "deployment"


def of_the_manifests() -> dict[str, Any]:
    storage = yaml.safe_load((DEPLOYMENT / "dagster" / "production.yaml").read_text(encoding="utf-8"))["storage"]
    found: dict[str, Any] = storage["postgres"]["postgres_db"]
    return found


def of_the_chart() -> dict[str, Any]:
    """As the chart's template `dagsterYaml.postgresql.config` writes it from its values."""
    values = yaml.safe_load((DEPLOYMENT / "helm" / "dagster-values.yaml").read_text(encoding="utf-8"))["postgresql"]
    return {"scheme": values["postgresqlScheme"]}


@pytest.mark.parametrize("storage", [of_the_manifests(), of_the_chart()], ids=["manifests", "chart"])
def test_it_holds_runs(postgres: Postgres, tmp_path: Path, storage: Mapping[str, Any]) -> None:
    postgres.url("dagster-storage")
    here = {
        "hostname": "127.0.0.1",
        "port": postgres.port,
        "username": "selfheal",
        "password": PASSWORD,
        "db_name": "dagster-storage",
    }
    config = {"telemetry": {"enabled": False}, "storage": {"postgres": {"postgres_db": {**storage, **here}}}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        before = instance.get_runs_count()
        instance.add_run(dg.DagsterRun(job_name="payments_retrain"))
        assert instance.get_runs_count() == before + 1
