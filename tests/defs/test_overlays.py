"""An overlay declares a model of the project again: its limits count, everywhere, and nothing else of it changes."""

from pathlib import Path

import pytest
import yaml

from selfheal_assets.operations.demo_serving import MODEL, ROLLOUT, declare_served
from selfheal_assets.operations.models import mistakes, model_named
from selfheal_assets.project import MODELS, PROJECT, declarations, model_files, roots_from_environment
from selfheal_assets.serving.settings import served_spec
from selfheal_assets.wiring import Services


def test_a_later_root_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    for root, names in (("first", ("a", "b")), ("second", ("b", "c"))):
        for name in names:
            (tmp_path / root / "models" / name).mkdir(parents=True)
            (tmp_path / root / "models" / name / "defs.yaml").touch()
    found = model_files([tmp_path / "first", tmp_path / "second"])
    assert [(path.parent.name, path.parents[2].name) for path in found] == [
        ("a", "first"),
        ("b", "second"),
        ("c", "second"),
    ]


def test_the_demonstration_declares_its_model_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SELFHEAL_OVERLAYS", raising=False)
    overlay = declare_served(tmp_path)
    roots = roots_from_environment()
    assert roots == (PROJECT, overlay)
    services = Services(home, roots=roots)
    spec = model_named(services, MODEL)
    assert (spec.rollout.over, spec.rollout.steps) == ("requests", tuple(ROLLOUT["steps"]))
    assert served_spec(MODEL, roots) == spec
    assert [path for path, problems in mistakes(services).items() if problems] == []
    own = yaml.safe_load((PROJECT / MODELS / MODEL / "defs.yaml").read_text(encoding="utf-8"))["attributes"]
    again = yaml.safe_load(declarations(overlay)[0].read_text(encoding="utf-8"))["attributes"]
    assert {name for name in again if again[name] != own.get(name)} == {"serving", "rollout"}
    assert again["serving"].items() >= own["serving"].items()


def test_dagster_loads_each_model_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from selfheal_assets.definitions import defs

    monkeypatch.setenv("SELFHEAL_HOME", str(tmp_path))
    monkeypatch.delenv("SELFHEAL_OVERLAYS", raising=False)
    declare_served(tmp_path)
    repository = defs().get_repository_def()
    assert repository.has_sensor_def(f"{MODEL}_rollout_sensor")
    assert len([job for job in repository.get_all_jobs() if job.name == f"{MODEL}_retrain"]) == 1
