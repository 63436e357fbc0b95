"""A declaration with mistakes is refused with all of them, each by file and line: by selfheal and by Dagster."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from selfheal_assets.components.declaration import load_spec
from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.model_spec import DriftSpec, ModelSpec
from selfheal_assets.operations.models import mistakes
from selfheal_assets.project import PROJECT, declarations
from selfheal_assets.wiring import Services

GOOD = """\
type: selfheal_assets.components.self_healing_model.SelfHealingModel
attributes:
  name: toy
  description: A model.
  owners: ["team:tests"]
  data:
    event_id: id
    event_timestamp: at
    label: y
    entities: [account]
  features:
    service: toy_v1
    request: [amount, device]
    categorical: [device]
  drift: {psi_threshold: 0.2, persistence_k: 2}
  training:
    trials: 3
    windows: [2, 4]
  gate: {slices: [device]}
"""
Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """The good declaration, with parts of its text replaced, as a file."""

    def write(*changes: tuple[str, str], text: str = GOOD) -> Path:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "models" / "toy" / "defs.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def told(path: Path) -> list[str]:
    """What load_spec says of the file, a line a mistake, without the file's folder."""
    with pytest.raises(SpecError) as refused:
        load_spec(path)
    lines = str(refused.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines), lines
    return [line.removeprefix(f"{path}:") for line in lines]


def test_a_good_declaration_is_a_spec(written: Written) -> None:
    spec = load_spec(written())
    assert (spec.name, spec.training.windows, spec.data.entities) == ("toy", (2, 4), ("account",))
    assert spec.drift == DriftSpec(), "what is not declared has its default"


@pytest.mark.parametrize("path", declarations(PROJECT) + declarations(PROJECT / "examples" / "electricity"), ids=str)
def test_the_declared_models_are_good_and_short(path: Path) -> None:
    assert isinstance(load_spec(path), ModelSpec)
    assert load_spec(path).name == path.parent.name
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 30


ONE = [
    # what is written instead, the line, what is said
    (("psi_threshold: 0.2", "psi_treshold: 0.2"), 15, "drift.psi_treshold: Unexpected keyword argument; received 0.2"),
    (("psi_threshold: 0.2", "psi_threshold: high"), 15, "received 'high'"),
    (("psi_threshold: 0.2", "psi_threshold: .inf"), 15, "drift.psi_threshold: Input should be a finite number"),
    (("psi_threshold: 0.2", "psi_threshold: .nan"), 15, "drift.psi_threshold: Input should be a finite number"),
    (("psi_threshold: 0.2", "psi_threshold: 0"), 15, "greater than 0; received 0"),
    (("psi_threshold: 0.2", "p_threshold: 5"), 15, "less than 1; received 5"),
    (("psi_threshold: 0.2", "detector: alibbi"), 15, "Input should be 'alibi' or 'scipy'; received 'alibbi'"),
    (("persistence_k: 2", "persistence_k: 4"), 15, "received 4 of 3. Lower k or raise n"),
    (("trials: 3", "trials: 0"), 17, "training.trials: Input should be greater than or equal to 1; received 0"),
    (("trials: 3", "trials: 2.5"), 17, "training.trials"),
    (("windows: [2, 4]", "windows: [2, 0]"), 18, "training.windows.1: Input should be greater"),
    (("windows: [2, 4]", "windows: []"), 18, "at least 1 item"),
    (("windows: [2, 4]", "windows: [2, 2]"), 16, "training.windows must not repeat"),
    (("entities: [account]", "entities: account"), 10, "data.entities"),
    (("    label: y\n", ""), 6, "data.label"),
    (("name: toy\n", "name: Toy\n"), 2, "received 'Toy'. Rename the model"),
    (("name: toy\n", "name: [toy]\n"), 3, "name: Input should be a valid string"),
    (("slices: [device]", "slices: [amount]"), 2, "gate.slices must be among features.categorical"),
    (("request: [amount, device]", "request: [amount, y]"), 2, "features.request must not name"),
    (('owners: ["team:tests"]', "owners: [me]"), 2, "received 'me'. Correct the entry"),
    (("drift: {psi", "drift: 3 #{psi"), 15, "drift"),
    (("  gate:", "  serving: {max_score_psi: 0}\n  gate:"), 19, "max_score_psi: Input should be greater than 0"),
    (("  gate:", "  serving: {score_minutes: -1}\n  gate:"), 19, "score_minutes: Input should be greater than 0"),
    (("  gate:", "  serving: {min_scores: 0}\n  gate:"), 19, "min_scores: Input should be greater than or equal"),
    (("  gate:", "  actions: {score_shift: [notify, retrain]}\n  gate:"), 19, "or 'nothing'; received 'retrain'"),
    (("  gate:", "  gates:"), 19, "gates: Extra inputs are not permitted"),
    (("  gate: {slices: [device]}", "  training: {trials: 9}"), 19, "training: a key must not repeat; keep one"),
    (("trials: 3", "trials: 3\n    trials: 30"), 18, "trials: a key must not repeat"),
    (("attributes:", "atributes:"), 1, "must have `type:"),
    (("type: selfheal_assets.components", "type: elsewhere.components"), 1, "must have `type:"),
    (("    event_id: id", "\tevent_id: id"), 7, "must be readable YAML"),
    (("account", "\x00"), 1, "must be readable YAML"),
    (("  data:", "  data: &all\n    more: *all"), 7, "data.more: Unexpected keyword argument"),
]


@pytest.mark.parametrize(("change", "line", "message"), ONE, ids=[change[1] for change, _, _ in ONE])
def test_a_mistake_is_told_with_its_line(written: Written, change: tuple[str, str], line: int, message: str) -> None:
    lines = told(written(change))
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{line}: "), lines[0]
    assert message in lines[0]


def test_all_mistakes_are_told_at_once(written: Written) -> None:
    lines = told(
        written(
            ("psi_threshold: 0.2", "psi_treshold: 0.2"),
            ("persistence_k: 2", "persistence_k: two"),
            ("trials: 3", "trials: 0"),
            ("description: A model.", "descripton: A model."),
            ("windows: [2, 4]", "windows: [2, x]"),
        )
    )
    found = {line.split(": ")[1] for line in lines}
    assert found == {
        "description",
        "descripton",
        "drift.psi_treshold",
        "drift.persistence_k",
        "training.trials",
        "training.windows.1",
    }


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]\n", "text\n", "attributes:\n", "{type: x, attributes: }\n"])
def test_what_is_no_declaration_is_refused(written: Written, text: str) -> None:
    assert told(written(text=text))[0].startswith("1: a model's file must")


@pytest.mark.parametrize("attributes", ["", " []", " text", " 3"])
def test_attributes_that_are_no_mapping_are_refused(written: Written, attributes: str) -> None:
    head = GOOD.splitlines()[0]
    assert told(written(text=f"{head}\nattributes:{attributes}\n"))[0].startswith("2: ")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert "must be readable YAML" in told(tmp_path / "absent.yaml")[0]
    (tmp_path / "latin.yaml").write_bytes("description: blåbær".encode("latin-1"))
    assert "must be readable YAML" in told(tmp_path / "latin.yaml")[0]


def test_dagster_itself_refuses_with_file_and_line(
    tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `selfheal validate` before it: the position comes from Dagster's own loader."""
    broken = written(("psi_threshold: 0.2", "psi_treshold: 0.2"), ("trials: 3", "trials: 0")).read_text()
    module = "broken_selfheal_project"
    folder = tmp_path / module / "defs" / "models" / "toy"
    folder.mkdir(parents=True)
    (folder / "defs.yaml").write_text(broken)
    for package in (folder.parents[2], folder.parents[1]):
        (package / "__init__.py").touch()
    project = f'[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "{module}"\n'
    (tmp_path / "pyproject.toml").write_text(project)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Exception, match=r"defs\.yaml") as refused:
        dg.load_from_defs_folder(path_within_project=tmp_path)
    said, cause = "", refused.value
    while cause is not None:
        said, cause = said + str(cause), cause.__cause__
    assert f"attributes.drift.psi_treshold at {folder / 'defs.yaml'}:15" in said
    assert f"attributes.training.trials at {folder / 'defs.yaml'}:17" in said


CHECKS = """\
models:
  - name: toy
    columns:
      - name: id
        data_tests: [not_nul]
"""


def test_validate_reports_mistakes_of_every_kind_at_once(home: Path, tmp_path: Path) -> None:
    """A misspelt setting, a misspelt check, a feature service that nobody declared, a name used twice."""
    overlay = tmp_path / "overlay"
    models = {
        "misspelt": GOOD.replace("name: toy", "name: misspelt").replace("trials: 3", "trails: 3"),
        "toy": GOOD,
        "toy_again": GOOD,
        "unreadable": "attributes: [",
    }
    for name, text in models.items():
        (overlay / "models" / name).mkdir(parents=True)
        (overlay / "models" / name / "defs.yaml").write_text(text)
    (overlay / "dbt_like_checks").mkdir()
    (overlay / "dbt_like_checks" / "toy.yml").write_text(CHECKS)
    found = mistakes(Services(home, roots=(PROJECT, overlay)))
    by_name = {Path(path).parent.name: "\n".join(problems) for path, problems in found.items()}
    assert by_name["payments"] == ""
    assert "training.trails: Unexpected keyword argument" in by_name["misspelt"]
    assert "must be readable YAML" in by_name["unreadable"]
    assert "not_nul" in by_name["toy"]
    assert "'toy_v1'" in by_name["toy"]
    assert "a model's name must be unique; received 'toy'" in by_name["toy_again"]


def test_no_model_is_a_mistake(home: Path, tmp_path: Path) -> None:
    (problem,) = mistakes(Services(home, roots=(tmp_path,)))["(no model)"]
    assert problem == "at least one model must be declared; received none. Write a defs.yaml."
