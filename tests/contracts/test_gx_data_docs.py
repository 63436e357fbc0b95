"""Data Docs of a model: written, linked, bounded in number and size, and never worth an outcome."""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlparse

import pandas as pd
import pytest

from selfheal_assets.adapters import gx_data_docs
from selfheal_assets.adapters.gx_checks import GreatExpectationsChecks
from selfheal_assets.core.quality import Check, CheckStatus, Scope
from selfheal_assets.ports import CheckContext

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def declared(test: str, description: str = "") -> Check:
    return Check(name=f"{test}_id", test=test, scope=Scope.ROW, column="id", description=description)


def context(now: datetime, batch_id: str) -> CheckContext:
    return CheckContext(
        model="shop",
        batch_id=batch_id,
        now=now,
        event_timestamp="time",
        reference=None,
        earlier=lambda _, values: values.isna(),
    )


def test_data_docs_are_written_linked_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gx_data_docs, "KEPT_REPORTS", 2)
    adapter = GreatExpectationsChecks(tmp_path)
    assert adapter.report_uri("shop") is None
    rows = pd.DataFrame({"id": ["y" * 1000] * 5000})
    checks = [declared("unique"), declared("not_null", description="Orders have a number.")]
    for day, batch_id in enumerate(["b-1", "../b 2 ü", "b-3" * 90, "b-4"]):
        adapter.evaluate(rows, checks, context(NOW + timedelta(days=day), batch_id))
    adapter.evaluate(rows, checks, context(NOW + timedelta(days=3), "b-4"))
    uri = adapter.report_uri("shop")
    assert uri is not None
    site = Path(urlparse(uri).path).parent
    assert site.is_relative_to(tmp_path / "data_docs" / "shop")
    pages = sorted(page.stem for page in (site / "validations").rglob("*.html"))
    stored = sorted((tmp_path / "data_docs" / "shop" / "results").rglob("*.json"))
    assert pages == [path.stem for path in stored]
    assert len(pages) == 2
    assert "b-4" in pages
    assert all(path.stat().st_size < 100_000 for path in stored)
    assert json.loads(stored[0].read_text())["statistics"]["unsuccessful_expectations"] == 1
    page = next((site / "validations").rglob("b-4.html")).read_text()
    assert "Orders have a number." in page
    assert "b-4.html" in (site / "index.html").read_text()
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")


def test_data_docs_that_cannot_be_written_cost_no_outcome(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "data_docs").write_text("in the way")
    adapter = GreatExpectationsChecks(tmp_path)
    with caplog.at_level(logging.WARNING):
        (outcome,) = adapter.evaluate(pd.DataFrame({"id": ["a"]}), [declared("not_null")], context(NOW, "b-1"))
    assert outcome.status is CheckStatus.PASSED
    assert "could not be written" in caplog.text
    assert adapter.report_uri("shop") is None
