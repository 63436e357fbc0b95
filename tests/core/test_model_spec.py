"""Every field of a model's declaration changes its fingerprint, is read by somebody, and refuses what is impossible."""

import ast
import dataclasses
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

import selfheal_assets
from selfheal_assets.core.causes import Cause
from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.model_spec import DataSpec, DriftSpec, FeaturesSpec, GateSpec, ModelSpec, TrainingSpec

PACKAGE = Path(selfheal_assets.__file__).parent
DECLARATION = PACKAGE / "core" / "model_spec.py"


def spec(**changes: Any) -> ModelSpec:
    whole: dict[str, Any] = {
        "name": "m",
        "description": "A model.",
        "owners": ("team:tests",),
        "data": DataSpec(event_id="id", event_timestamp="at", label="y", entities=("account",)),
        "features": FeaturesSpec(service="s", request=("amount",), categorical=("device", "country")),
        "gate": GateSpec(slices=("device",)),
    }
    return ModelSpec(**{**whole, **changes})


Path_ = tuple[str, ...]


def leaves(kind: type, where: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every field that holds a value, with its declared type; of the nested dataclasses too."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if dataclasses.is_dataclass(hint):
            yield from leaves(hint, (*where, name))
        else:
            yield (*where, name), hint


LEAVES = dict(leaves(ModelSpec))
VALID: dict[Path_, Any] = {
    # Where a rule over several fields leaves few other values.
    ("rollout", "steps"): (0.1, 1.0),
    ("training", "resources"): {"memory": "4Gi"},
    ("owners",): ("team:others",),
    ("drift", "persistence_k"): 3,
    ("gate", "slices"): ("country",),
}


def value_at(model: Any, where: Path_) -> Any:
    for name in where:
        model = getattr(model, name)
    return model


def replaced(model: Any, where: Path_, value: Any) -> Any:
    first, *rest = where
    inner = replaced(getattr(model, first), tuple(rest), value) if rest else value
    return dataclasses.replace(model, **{first: inner})


def another(hint: Any, value: Any) -> Any:
    """A valid value of the type that is not `value`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return another(arguments[0], value)
    if origin is Literal:
        return next(choice for choice in arguments if choice != value)
    if origin in (Union, UnionType):
        return another(next(kind for kind in arguments if kind is not NoneType), value)
    if origin is tuple:
        return (*value, another(arguments[0], value[0] if value else None))
    if origin is Mapping:
        return {**value, "x": 1.0}
    if hint is bool:
        return not value
    if hint is int:
        return (value or 0) + 1
    if hint is float:
        return (value or 1.0) * 0.99
    assert hint is str, f"teach this test a value of type {hint}"
    return f"{value or 'x'}_2"


@pytest.mark.parametrize("where", LEAVES, ids=".".join)
def test_every_field_changes_the_fingerprint(where: Path_) -> None:
    model = spec()
    value = VALID.get(where) or another(LEAVES[where], value_at(model, where))
    changed = replaced(model, where, value)
    assert value_at(changed, where) != value_at(model, where)
    assert changed.fingerprint() != model.fingerprint()


def test_the_walk_sees_the_nested_fields() -> None:
    assert {("name",), ("data", "event_id"), ("drift", "psi_threshold"), ("training", "windows")} <= set(LEAVES)
    assert len(LEAVES) >= 40


def test_no_two_changes_collide() -> None:
    """A value moved to a field of the same type elsewhere is another model."""
    model = spec()
    prints = {model.fingerprint()}
    for where, hint in LEAVES.items():
        changed = replaced(model, where, VALID.get(where) or another(hint, value_at(model, where)))
        prints.add(changed.fingerprint())
    assert len(prints) == len(LEAVES) + 1


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    script = (
        "from selfheal_assets.core.model_spec import *;"
        "data = DataSpec(event_id='i', event_timestamp='a', label='y', entities=('e',));"
        "features = FeaturesSpec(service='s');"
        "print(ModelSpec(name='m', description='d', owners=('team:t',), data=data, features=features).fingerprint())"
    )
    prints = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for seed in ("1", "2")
    }
    (fingerprint,) = prints
    assert len(fingerprint) == 12


PARTS = {hint.__name__: name for name, hint in get_type_hints(ModelSpec).items() if dataclasses.is_dataclass(hint)}


def _annotations(function: ast.FunctionDef) -> dict[str, str]:
    """The function's parameters that are a part of a spec, by the part's name: `spec: DriftSpec` is `drift`."""
    arguments = (*function.args.args, *function.args.kwonlyargs)
    kinds = {each.arg: ast.unparse(each.annotation).strip("'") for each in arguments if each.annotation}
    return {name: PARTS[kind] for name, kind in kinds.items() if kind in PARTS}


def _owner(node: ast.expr) -> str:
    """The last name of what a field is read from; a part that an object keeps for itself is still that part."""
    return (node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")).removeprefix("_")


def _reads() -> set[tuple[str, str]]:
    """(part of the spec, field) of everything that is read outside the declaration itself."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if path == DECLARATION:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        scopes = [(tree, {})] + [(f, _annotations(f)) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)]
        for scope, parts in scopes:
            for node in ast.walk(scope):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    owner = _owner(node.value)
                    found.add((parts.get(owner, owner), node.attr))
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
                    found.add((_owner(node.args[0]), BY_NAME))
    return found


BY_NAME = "*"
"""Read by a name that is computed: for `actions`, the cause's."""
READS = _reads()


@pytest.mark.parametrize("where", LEAVES, ids=".".join)
def test_every_field_is_read(where: Path_) -> None:
    """A setting that nothing reads is a promise nobody keeps; `min_rows` of one part does not stand for another."""
    *parts, name = where
    owner = parts[-1] if parts else "spec"
    by_name = owner == "actions" and name in set(Cause) and (owner, BY_NAME) in READS
    assert (owner, name) in READS or by_name, f"{'.'.join(where)} is declared and never read"


def test_a_field_that_nothing_reads_would_be_found() -> None:
    assert ("drift", "cooldown_minutes") not in READS
    assert ("policy", "cooldown_minutes") in READS


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("an upper-case name", {"name": "M"}, "name must be 1 to 40 lower-case letters"),
    ("an empty name", {"name": ""}, "name must be"),
    ("a path as a name", {"name": "../m"}, r"received '\.\./m'. Rename"),
    ("a long name", {"name": "m" * 41}, "name must be"),
    ("a name with a newline", {"name": "m\n"}, "name must be"),
    ("an owner without a place", {"owners": ("me",)}, "received 'me'. Correct the entry"),
    ("an owner with a newline", {"owners": ("team:a\n",)}, "owners must be"),
    (
        "the label as a feature",
        {"features": FeaturesSpec(service="s", request=("y",)), "gate": GateSpec()},
        r"received \['y'\]. Remove them",
    ),
    ("a slice by no category", {"gate": GateSpec(slices=("amount",))}, r"received \['amount'\]. Declare or drop"),
    (
        "one column in two roles",
        {"data": DataSpec(event_id="id", event_timestamp="id", label="y", entities=("a",))},
        r"must not repeat; received \['id'\]",
    ),
]


@pytest.mark.parametrize(("changes", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_impossible_models_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec(**changes)


def test_impossible_parts_are_refused() -> None:
    with pytest.raises(SpecError, match=r"received 4 of 3\. Lower k or raise n"):
        DriftSpec(persistence_k=4)
    with pytest.raises(SpecError, match=r"training.windows must not repeat; received \['4'\]"):
        TrainingSpec(windows=(4, 2, 4))
    with pytest.raises(SpecError, match=r"features.request must not repeat; received \['a'\]"):
        FeaturesSpec(service="s", request=("a", "a"))


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec().drift.psi_threshold = 9.0  # type: ignore[misc]
