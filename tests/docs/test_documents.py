"""What stands in code blocks of the documents works, and the figures that they quote are the code's."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from selfheal_assets.adapters.label_files import checked_labels, read_label_file
from selfheal_assets.components.declaration import COMPONENT, load_spec
from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.failures import MAX_ATTEMPTS
from selfheal_assets.core.ledger_breaks import BreakKind
from selfheal_assets.core.model_spec import DataSpec, ModelSpec
from selfheal_assets.core.record import RecordKind
from selfheal_assets.project import PROJECT
from selfheal_assets.stages.labels import BATCHES_LOOKED_AT

DOCUMENTS = sorted({*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("examples/**/*.md")})
SECTIONS = {field.name for field in fields(ModelSpec)}
LEAST: dict[str, Any] = {
    "name": "m",
    "description": "A model.",
    "owners": ["team:tests"],
    "data": {"event_id": "id", "event_timestamp": "at", "label": "y", "entities": ["who"]},
    "features": {"service": "s", "request": ["amount", "channel"], "categorical": ["channel"]},
}


def blocks(language: str) -> list[Any]:
    """The text of every code block in the language, named by its document and line."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for block in re.finditer(rf"^```{language}\n(.*?)^```", text, re.S | re.M):
            line = text.count("\n", 0, block.start()) + 2
            found.append(pytest.param(block[1], id=f"{document.relative_to(PROJECT)}:{line}"))
    return found


def loaded(text: str, folder: Path) -> ModelSpec | None:
    """The model of a whole declaration, or of parts of one beside the least that is required; None: another YAML."""
    declared = yaml.safe_load(text)
    assert declared, "an empty block shows nothing"
    if isinstance(declared, dict) and "type" not in declared:
        parts = declared.get("attributes", declared)
        if not set(parts) & SECTIONS:
            return None
        text = yaml.safe_dump({"type": COMPONENT, "attributes": {**LEAST, **parts}})
    elif not isinstance(declared, dict) or declared["type"] != COMPONENT:
        return None
    path = folder / "defs.yaml"
    path.write_text(text, encoding="utf-8")
    return load_spec(path)


@pytest.mark.parametrize("text", blocks("ya?ml"))
def test_every_yaml_block_loads(text: str, tmp_path: Path) -> None:
    assert loaded(text, tmp_path) is None or isinstance(loaded(text, tmp_path), ModelSpec)


def test_a_wrong_block_would_be_found(tmp_path: Path) -> None:
    found = loaded("policy: {autonomy: recommend}", tmp_path)
    assert found is not None
    assert found.policy.autonomy == "recommend"
    assert loaded("version: 2\nmodels: []", tmp_path) is None
    for wrong in (
        "policy: {autonomie: heal}",
        "policy: {autonomy: ask}",
        "drift: {persistence_k: 9}",
        "polcy: {}\nname: m",
    ):
        with pytest.raises(SpecError):
            loaded(wrong, tmp_path)


def test_there_are_blocks_in_the_policy_document() -> None:
    assert sum(block.id.startswith("docs/policy.md") for block in blocks("ya?ml")) >= 3


@pytest.mark.parametrize("text", blocks("csv"))
def test_every_label_file_that_is_shown_can_be_used(text: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    data = DataSpec(event_id="payment_id", event_timestamp="at", label="is_fraud", entities=("account_id",))
    found = checked_labels(read_label_file(path, data, {"payment_id": "text"}), data)
    assert found["label"].tolist() == [0.0, 1.0]
    assert found["label_timestamp"].notna().all()


def test_the_ledger_s_kinds_and_breaks_are_all_told() -> None:
    text = (PROJECT / "docs" / "ledger.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(\w+)` \|", text, re.M))
    assert told == set(RecordKind)
    assert set(re.findall(r"^\| (\w+) \|", text, re.M)) >= set(BreakKind)


def test_the_figures_in_the_prose_are_the_code_s() -> None:
    labels = " ".join((PROJECT / "docs" / "labels.md").read_text(encoding="utf-8").split())
    assert f"newest {BATCHES_LOOKED_AT:,} batches are searched" in labels
    assert MAX_ATTEMPTS == 3
    assert labels.count("crashes three times") == 2
