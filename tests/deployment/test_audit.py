"""The audit fails for what is open, overdue, idle or unknown, and passes for nothing else."""

import importlib.util
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from selfheal_assets.project import PROJECT

FOLDER = PROJECT / "deployment" / "security"
TODAY = date(2026, 3, 1)
CLEAN: dict[str, Any] = {"name": "b", "version": "1", "vulns": []}
OPEN: dict[str, Any] = {
    "name": "a",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"], "description": ""}],
}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found"}
GRANTED = {"id": "CVE-1", "package": "a", "until": date(2026, 4, 1), "reason": "never called"}


@pytest.fixture(scope="module")
def audit() -> Any:
    found = importlib.util.spec_from_file_location("audit", FOLDER / "audit.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("dependencies", "exceptions", "said"),
    [
        ([CLEAN], [], []),
        ([OPEN], [GRANTED], []),
        ([OPEN, OPEN], [], ["a 1.0: PYSEC-1; mended in 1.1"]),
        ([CLEAN], [GRANTED], ["a CVE-1: is not found any more. Remove the exception."]),
        ([OPEN], [{**GRANTED, "package": "b"}], ["a 1.0: PYSEC-1", "b CVE-1: is not found any more"]),
        ([OPEN], [{**GRANTED, "until": TODAY}], ["a CVE-1: its exception ended on 2026-03-01"]),
        ([OPEN], [{**GRANTED, "until": date(2027, 3, 1)}], ["ends within 90 days; received 2027-03-01"]),
        ([{"name": "c", "skip_reason": "not on PyPI"}], [], ["c: not audited: not on PyPI"]),
    ],
)
def test_findings(audit: Any, dependencies: list[Any], exceptions: list[Any], said: list[str]) -> None:
    found = audit.findings(dependencies, exceptions, TODAY)
    assert len(found) == len(said)
    assert all(words in line for words, line in zip(said, found, strict=True))


@pytest.mark.parametrize("found", [[UNKNOWN, UNKNOWN], None], ids=["none was found", "nothing was said"])
def test_without_any_advisory_there_is_nothing_to_compare_with(
    audit: Any, found: list[Any] | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def audited(_: Path) -> list[Any]:
        if found is None:
            raise LookupError("no network")
        return found

    monkeypatch.setattr(audit, "audited", audited)
    assert audit.main(["a.lock"]) == 1
    assert audit.main(["--where-known", "a.lock"]) == 0
    assert "NOT AUDITED" in capsys.readouterr().out


def test_one_package_that_is_known_makes_the_others_count(audit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "audited", lambda _: [UNKNOWN, CLEAN])
    assert audit.main(["--where-known", "a.lock"]) == 1


def test_every_exception_is_whole() -> None:
    import tomllib

    exceptions = tomllib.loads((FOLDER / "exceptions.toml").read_text(encoding="utf-8")).get("exception", [])
    for one in exceptions:
        assert set(one) == {"id", "package", "until", "reason"}
        assert isinstance(one["until"], date)
        assert len(one["reason"]) > 20
