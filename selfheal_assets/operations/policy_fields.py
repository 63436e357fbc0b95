"""List what a declaration may say: the core's dataclasses in; every field with type, default and unit out."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval, MinLen

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.policy_spec import ActionName
from selfheal_assets.operations.attribute_docs import documented
from selfheal_assets.operations.markdown import code, markdown_table

TOP = "attributes"
"""The section of the fields that stand by themselves."""
UNIT = re.compile(r"\s*Unit: ([^.]+)\.")
UNITS = ("rows", "batches", "hours", "minutes", "seconds", "ms", "days", "versions", "rounds", "share")
"""A field whose name ends in one of these needs no `Unit:` in its docstring."""
UNITLESS = frozenset({"seed"})
REQUIRED = "required"


@dataclass(frozen=True, kw_only=True)
class FieldStory:
    """One field that a person may write."""

    section: str
    name: str
    type: str
    default: str
    unit: str
    consequence: str

    @property
    def path(self) -> str:
        return self.name if self.section == TOP else f"{self.section}.{self.name}"


def sections() -> dict[str, type]:
    """The dataclasses by the key under which they stand; the model's own first."""
    hints = get_type_hints(ModelSpec)
    return {
        TOP: ModelSpec,
        **{name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)},
    }


def field_stories() -> list[FieldStory]:
    """Every field, by section. Raises SelfhealError for one without a docstring, and for a number without a unit."""
    return [story for section, kind in sections().items() for story in _stories(section, kind)]


def _stories(section: str, kind: Any) -> Iterator[FieldStory]:
    hints, parts = get_type_hints(kind, include_extras=True), sections()
    docs = documented(kind, [field.name for field in fields(kind)])
    for field in fields(kind):
        if field.name not in parts:
            kind_of_value = type_words(hints[field.name])
            yield FieldStory(
                section=section,
                name=field.name,
                type=kind_of_value,
                default=_default(field),
                unit=_unit(f"{section}.{field.name}", docs[field.name], "number" in kind_of_value),
                consequence=UNIT.sub("", docs[field.name].replace("\n", " ")),
            )


def field_tables() -> str:
    """A heading and a table for each section."""
    stories, texts = field_stories(), list[str]()
    for section, kind in sections().items():
        about = " ".join((kind.__doc__ or "").split())
        rows = [
            (code(s.name), s.type, s.default if s.default == REQUIRED else code(s.default), s.unit, s.consequence)
            for s in stories
            if s.section == section
        ]
        texts += [
            f"### `{section}`",
            about,
            markdown_table(("field", "type", "default", "unit", "what follows from it"), rows),
        ]
    return "\n\n".join(texts)


def type_words(hint: Any) -> str:
    """A type and its bounds in words."""
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        bounds = [words for bound in arguments[1:] for words in _bound_words(bound)]
        return ", ".join([type_words(arguments[0]), *bounds])
    if get_origin(hint) is Literal:
        return f"one of {code(*arguments)}"
    if get_origin(hint) is tuple:
        return f"list of {'actions' if arguments[0] is ActionName else type_words(arguments[0])}"
    if get_origin(hint) in (Mapping, UnionType):
        joint = " to " if get_origin(hint) is Mapping else " or "
        return joint.join(type_words(argument) for argument in arguments)
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}[hint]


def _bound_words(bound: object) -> list[str]:
    if isinstance(bound, MinLen):
        return ["not empty"] if bound.min_length == 1 else [f"{bound.min_length} at least"]
    given = (
        bound if isinstance(bound, Interval) else Interval(ge=getattr(bound, "ge", None), gt=getattr(bound, "gt", None))
    )
    if not isinstance(bound, Interval | Ge | Gt):
        raise SelfhealError(
            f"A bound of a field must be one that can be put in words; received {bound!r}. Teach it here."
        )
    words = {"at least": given.ge, "above": given.gt, "at most": given.le, "below": given.lt}
    return [f"{name} {plain(limit)}" for name, limit in words.items() if limit is not None]


def plain(value: Any) -> str:
    """The value as a person would write it in YAML."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"[{', '.join(plain(one) for one in value)}]"
    return value if isinstance(value, str) else json.dumps(value)


def _default(field: "Field[Any]") -> str:
    if field.default is not MISSING:
        return plain(field.default)
    return REQUIRED if field.default_factory is MISSING else plain(field.default_factory())


def _unit(path: str, text: str, is_number: bool) -> str:
    said = UNIT.search(text)
    if said:
        return said[1]
    name = path.rpartition(".")[2]
    suffix = name.rpartition("_")[2]
    if is_number and suffix in UNITS:
        return suffix
    if is_number and name not in UNITLESS:
        raise SelfhealError(
            f"A number must have a unit; received {path} without one. End its docstring with `Unit: ...`, or its name "
            f"with one of {', '.join(UNITS)}."
        )
    return ""


def values(spec: ModelSpec) -> list[tuple[FieldStory, str, bool]]:
    """Each field with the model's value, and whether that is the default."""
    found = []
    for story in field_stories():
        owner: Any = spec if story.section == TOP else getattr(spec, story.section)
        value = plain(getattr(owner, story.name))
        found.append((story, value, value == story.default))
    return found
