"""From a model's YAML to a ModelSpec: what is wrong is refused with file and line. Builds no asset."""

from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Self, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, create_model, model_validator, with_config
from pydantic_core import ErrorDetails

from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.declared_yaml import composed, loaded

COMPONENT = "selfheal_assets.components.self_healing_model.SelfHealingModel"
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""A key that nothing reads is a mistake, not a comment; a limit that is not a number is none."""


class Attributes(BaseModel):
    """The YAML's `attributes:`, whole; its fields are those of ModelSpec."""

    model_config = STRICT

    @model_validator(mode="after")
    def _is_a_model(self) -> Self:
        self.spec()
        return self

    def spec(self) -> ModelSpec:
        return ModelSpec(**{name: getattr(self, name) for name in type(self).model_fields})


def _schema() -> type[Attributes]:
    """Pydantic over the core's own dataclasses, so that a field is declared once, and refused with file and line."""
    hints = get_type_hints(ModelSpec, include_extras=True)
    for hint in hints.values():
        if isinstance(hint, type) and is_dataclass(hint):
            with_config(STRICT)(hint)
    declared: dict[str, Any] = {
        field.name: (hints[field.name], ... if field.default_factory is MISSING else field.default_factory())
        for field in fields(ModelSpec)
    }
    return create_model("SelfHealingModelAttributes", __base__=Attributes, **declared)


SCHEMA = _schema()


def load_spec(path: Path) -> ModelSpec:
    """The model that a defs.yaml declares. Raises one SpecError that lists every mistake as `file:line: ...`."""
    root, declared = _read(path)
    repeated = _repeated_keys(root)
    if repeated:
        raise SpecError("\n".join(f"{path}:{line}: {key}: a key must not repeat; keep one" for line, key in repeated))
    if not isinstance(declared, dict) or declared.get("type") != COMPONENT or set(declared) != {"type", "attributes"}:
        raise SpecError(
            f"{path}:1: a model's file must have `type: {COMPONENT}` and `attributes:`, nothing else; add them."
        )
    try:
        attributes = SCHEMA.model_validate(declared["attributes"])
    except ValidationError as error:
        raise SpecError("\n".join(_mistake(path, root, found) for found in error.errors())) from None
    return attributes.spec()


def _read(path: Path) -> tuple[yaml.Node, Any]:
    """The file's nodes, which know their lines, and its values."""
    try:
        text = path.read_text(encoding="utf-8")
        root, declared = composed(text), loaded(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        raise SpecError(
            f"{path}:{mark.line + 1 if mark else 1}: a model's file must be readable YAML; "
            f"received: {' '.join(str(error).split())}. Correct it."
        ) from error
    if root is None:
        raise SpecError(f"{path}:1: a model's file must not be empty. Declare the model in it.")
    return root, declared


def _repeated_keys(root: yaml.Node) -> list[tuple[int, str]]:
    """(line, key) of every key that stands twice in a mapping: YAML would forget the first without a word."""
    repeated, waiting, met = list[tuple[int, str]](), [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in met:  # an alias, perhaps to what it stands in
            continue
        met.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            marked = [(key.start_mark.line + 1, key.value) for key, _ in node.value]
            repeated += [found for place, found in enumerate(marked) if found[1] in keys[:place]]
            waiting += [value for _, value in node.value]
    return sorted(repeated)


def _mistake(path: Path, root: yaml.Node, found: ErrorDetails) -> str:
    place = ".".join(str(part) for part in found["loc"])
    received = "" if found["type"] in ("missing", "value_error") else f"; received {found['input']!r}"
    line = _line(root, ("attributes", *found["loc"]))
    return f"{path}:{line}: {place + ': ' if place else ''}{found['msg'].removeprefix('Value error, ')}{received}"


def _line(node: yaml.Node, keys: tuple[int | str, ...]) -> int:
    """The line of the deepest key that the file has."""
    line = node.start_mark.line + 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == key), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
    return line
