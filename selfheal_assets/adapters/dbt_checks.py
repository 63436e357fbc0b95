"""Read a model's checks from dbt's schema YAML and singular SQL into Checks. Never looks at a batch."""

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from selfheal_assets.adapters.sql_checks import REF, Declared, read_singular
from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.core.quality import Check, Scope
from selfheal_assets.declared_yaml import composed, value_of


def load_checks(folders: Sequence[Path], spec: ModelSpec) -> list[Check]:
    """All checks of the model: those of the first `<folder>/<model>.yml`, then the singular SQL that refers to it.

    Raises one SpecError that lists every mistake as `file:line: rule; received; remedy`.
    """
    mistakes, checks = list[str](), list[Declared]()
    if schema := next((path for folder in folders if (path := folder / f"{spec.name}.yml").is_file()), None):
        checks += _Schema(schema, spec, mistakes).read()
    else:
        mistakes.append(f"{spec.name}.yml:1: the file must exist; received none in {[*map(str, folders)]}; write it")
    for path in [path for folder in folders for path in sorted((folder / "singular").glob("assert_*.sql"))]:
        checks += read_singular(path, spec, mistakes)
    seen: dict[str, str] = {}
    for place, check in checks:
        if (first := seen.setdefault(check.name, place)) is not place:
            mistakes.append(f"{place}: names must be unique; received '{check.name}', also at {first}; set `name:`")
    if mistakes:
        raise SpecError("\n".join(mistakes))
    return [check for _, check in checks]


class _Kind(NamedTuple):
    """What an argument's value must be."""

    rule: str
    holds: Callable[[Any], bool]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_BOUND = _Kind("a finite number or a timestamp", lambda v: _number(v) or isinstance(v, datetime))
_RANGE = {"min_value": _BOUND, "max_value": _BOUND}
_COUNT = _Kind("a whole number of at least 0", lambda v: type(v) is int and v >= 0)
_HOURS = _Kind("a number of hours of at least 0", lambda v: _number(v) and v >= 0)
_SHARE = _Kind("a number from 0 to 1", lambda v: _number(v) and 0 <= v <= 1)
_SHIFT = {"max_shift_sd": _Kind("a number of standard deviations above 0", lambda v: _number(v) and v > 0)}
_FLAG = _Kind("true or false", lambda v: isinstance(v, bool))
_TEXT = _Kind("text", lambda v: isinstance(v, str) and v.strip() != "")
_REFERENCE = _Kind("ref('<model>')", lambda v: isinstance(v, str) and REF.fullmatch(v.strip()) is not None)
_VALUES = _Kind(
    "a list of one or more texts, numbers or booleans",
    lambda v: isinstance(v, list) and bool(v) and all(isinstance(x, str | bool) or _number(x) for x in v),
)
_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "float": _number,
    "integer": _number,
    "boolean": lambda value: isinstance(value, bool),
    "timestamp": lambda value: isinstance(value, datetime),
}
DATA_TYPES = tuple(_KINDS)
_NUMBERS = ("float", "integer")


@dataclass(frozen=True)
class _Test:
    """Where a test may stand, and which arguments it takes."""

    scope: Scope
    on: Literal["column", "model"] = "column"
    types: tuple[str, ...] = DATA_TYPES  # of the columns that it makes sense for
    needs: Mapping[str, _Kind] = field(default_factory=dict)
    one_of: Mapping[str, _Kind] = field(default_factory=dict)
    may: Mapping[str, _Kind] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, _Kind]:
        return {**self.needs, **self.one_of, **self.may}


TESTS: Mapping[str, _Test] = {
    "not_null": _Test(Scope.ROW),
    "unique": _Test(Scope.ROW),
    "accepted_values": _Test(Scope.ROW, needs={"values": _VALUES}),
    "accepted_range": _Test(Scope.ROW, types=(*_NUMBERS, "timestamp"), one_of=_RANGE, may={"inclusive": _FLAG}),
    "relationships": _Test(Scope.ROW, needs={"to": _REFERENCE, "field": _TEXT}),
    "finite": _Test(Scope.ROW, types=_NUMBERS),
    "max_missing": _Test(Scope.TABLE, needs={"share": _SHARE}),
    "mean_between": _Test(Scope.TABLE, types=_NUMBERS, one_of=_RANGE),
    "mean_between_reference": _Test(Scope.TABLE, types=_NUMBERS, needs=_SHIFT),
    "quantile_between_reference": _Test(Scope.TABLE, types=_NUMBERS, needs={"quantile": _SHARE, **_SHIFT}),
    "row_count": _Test(Scope.TABLE, "model", one_of={"min_value": _COUNT, "max_value": _COUNT}),
    "column_set": _Test(Scope.TABLE, "model"),
    "column_types": _Test(Scope.TABLE, "model"),
    "freshness": _Test(Scope.TABLE, "model", one_of={"max_age_hours": _HOURS, "max_future_hours": _HOURS}),
}


class _Schema:
    """One schema file being read; every mistake is noted with its line, and reading goes on."""

    def __init__(self, path: Path, spec: ModelSpec, mistakes: list[str]) -> None:
        self.path, self.spec, self.mistakes = path, spec, mistakes
        self.columns: dict[str, str | None] = {}

    def read(self) -> list[Declared]:
        try:
            root = composed(self.path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            line = mark.line + 1 if (mark := getattr(error, "problem_mark", None)) else 1
            received = " ".join(str(getattr(error, "problem", None) or error).split())
            self.mistakes.append(f"{self.path}:{line}: the file must be YAML in UTF-8; received {received}; correct it")
            return []
        top = self._mapping(root, ("version", "models"), "the file") if root else {}
        if "version" in top and self._value(top["version"]) != 2:
            self._mistake(top["version"], "version must be 2", self._value(top["version"]), "write `version: 2`")
        found, named = list[Declared](), list[Any]()
        for node in self._items(top.get("models")):
            model = self._mapping(node, ("name", "description", "columns", "data_tests"), "a model")
            named.append(self._value(model["name"]) if "name" in model else None)
            if named[-1] == self.spec.name:
                found += self._model(node, model)
        if named != [self.spec.name]:
            self._mistake(root, f"models must be one entry, named '{self.spec.name}'", named, "keep that entry only")
        return found

    def _model(self, node: yaml.Node, model: Mapping[str, yaml.Node]) -> list[Declared]:
        tests: list[tuple[str | None, yaml.Node | None]] = [(None, model.get("data_tests"))]
        for item in self._items(model.get("columns")):
            column = self._mapping(item, ("name", "description", "data_type", "data_tests"), "a column")
            name = self._value(column["name"]) if "name" in column else None
            if not isinstance(name, str) or not name or name in self.columns:
                self._mistake(item, "a column must have a name of its own", name, "name it, once")
                continue
            data_type = self._value(column["data_type"]) if "data_type" in column else None
            if data_type not in (None, *DATA_TYPES):
                self._mistake(column["data_type"], f"data_type must be one of {list(DATA_TYPES)}", data_type, "use one")
            self.columns[name] = data_type if data_type in DATA_TYPES else None
            tests.append((name, column.get("data_tests")))
        data = self.spec.data
        needed = (data.event_id, data.event_timestamp, data.label, *data.entities, *self.spec.features.request)
        if missing := [name for name in dict.fromkeys(needed) if name not in self.columns]:
            rule = "columns must declare every column of the batch that defs.yaml names"
            self._mistake(model.get("columns", node), rule, f"none for {missing}", "declare them, or correct defs.yaml")
        items = [(item, column) for column, listed in tests for item in self._items(listed)]
        return [check for item, column in items if (check := self._test(item, column)) is not None]

    def _test(self, node: yaml.Node, column: str | None) -> Declared | None:
        label, body = node.value[0] if isinstance(node, yaml.MappingNode) and len(node.value) == 1 else (node, None)
        kind = self._value(label)
        test = TESTS.get(kind) if isinstance(kind, str) else None
        before = len(self.mistakes)
        if test is None:
            remedy = "write its name, with its arguments indented below it" + _hint(kind, TESTS)
            self._mistake(node, f"a test must be one of {sorted(TESTS)}", kind, remedy)
            return None
        if test.on != ("column" if column else "model"):
            self._mistake(node, f"{kind} must stand under a {test.on}'s data_tests", column or "the model", "move it")
        declared = self.columns.get(column) if column else None
        if declared is not None and declared not in test.types:
            self._mistake(node, f"{kind} must test a column of type {list(test.types)}", declared, "remove the test")
        given = self._given(body, test, kind)
        arguments = self._arguments(node, test, kind, {key: given[key] for key in test.arguments if key in given})
        common = self._common(node, kind, column, given)
        if len(self.mistakes) == before:
            self._fit(node, kind, column, arguments)
        if len(self.mistakes) > before:
            return None
        return self._place(node), Check(test=kind, scope=test.scope, column=column, arguments=arguments, **common)

    def _given(self, body: yaml.Node | None, test: _Test, kind: str) -> dict[str, yaml.Node]:
        """Settings and arguments of one test, flat: dbt lets both stand at either of two levels."""
        if body is None or self._value(body) is None:
            return {}
        flat = ("arguments", "config", "name", "description", "severity", "where", *test.arguments)
        given = self._mapping(body, flat, kind)
        levels = {"config": ("severity", "where"), "arguments": tuple(test.arguments)}
        for level in [level for level in levels if level in given]:
            for key, node in self._mapping(given.pop(level), levels[level], f"{level} of {kind}").items():
                if key in given:
                    self._mistake(node, f"{key} must be given once", f"it twice for {kind}", "remove one of them")
                given[key] = node
        return given

    def _arguments(self, node: yaml.Node, test: _Test, kind: str, given: Mapping[str, yaml.Node]) -> dict[str, Any]:
        missing = [name for name in test.needs if name not in given]
        if test.one_of and not set(test.one_of) & set(given):
            missing.append(" or ".join(test.one_of))
        for name in missing:
            self._mistake(node, f"{kind} must be given {name}", "no such argument", "add it")
        values: dict[str, Any] = {}
        for key, argument in given.items():
            wanted, value = test.arguments[key], self._value(argument)
            values[key] = _instant(value) if wanted is _BOUND else value
            if not wanted.holds(values[key]):
                self._mistake(argument, f"{key} of {kind} must be {wanted.rule}", value, "correct the value")
        return values

    def _common(self, node: yaml.Node, kind: str, column: str | None, given: Mapping[str, yaml.Node]) -> dict[str, Any]:
        words = {key: self._value(given[key]) for key in ("name", "severity", "where", "description") if key in given}
        for key, value in words.items():
            if not _TEXT.holds(value):
                self._mistake(given[key], f"{key} of {kind} must be text", value, "write text, or remove the key")
        severity = str(words.get("severity", "error")).lower()
        if severity not in ("error", "warn"):
            self._mistake(given["severity"], "severity must be 'error' or 'warn'", words["severity"], "use one of them")
        if "where" in words and kind in ("column_set", "column_types"):
            self._mistake(given["where"], f"{kind} must not have a where: it sees no row", words["where"], "drop it")
        default = re.sub(r"\W", "_", "_".join(part for part in (kind, self.spec.name, column) if part), flags=re.ASCII)
        name = str(words.get("name", default))
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            self._mistake(given.get("name", node), "a name must be letters, digits and underscores", name, "rename it")
        return {**words, "name": name, "severity": severity}

    def _fit(self, node: yaml.Node, kind: str, column: str | None, arguments: dict[str, Any]) -> None:
        """Check arguments against each other and against the columns; add what the declaration implies."""
        declared = self.columns.get(column) if column else None
        bounds = [arguments[key] for key in _RANGE if key in arguments]
        if wrong := [v for v in (*arguments.get("values", ()), *bounds) if declared and not _KINDS[declared](v)]:
            rule = f"values of {kind} must be of the column's data_type {declared}"
            self._mistake(node, rule, wrong, "correct them (YAML takes a bare no, off or 1 for no text: quote it)")
        if len({type(bound) is datetime for bound in bounds}) == 2 or bounds != sorted(bounds):
            rule = f"min_value of {kind} must be at most max_value, and of its type"
            self._mistake(node, rule, bounds, "correct one of them")
        if kind == "unique":
            arguments["across_batches"] = column == self.spec.data.event_id
        elif kind == "column_set":
            arguments["columns"] = tuple(self.columns)
        elif kind == "column_types":
            arguments["types"] = {name: declared for name, declared in self.columns.items() if declared}
            if untyped := [name for name, declared in self.columns.items() if not declared]:
                self._mistake(node, "column_types needs every data_type", f"none for {untyped}", "add them")
        elif kind == "relationships":
            if REF.findall(arguments["to"]) != [self.spec.name]:
                rule = f"relationships must be to ref('{self.spec.name}'): only a model's own history is at hand"
                self._mistake(node, rule, arguments["to"], "name this model")
            if arguments["field"] not in self.columns:
                self._mistake(node, "field must be a declared column", arguments["field"], "declare or correct it")

    def _mapping(self, node: yaml.Node, allowed: Sequence[str], what: str) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self._mistake(node, f"{what} must be a mapping of {list(allowed)}", self._value(node), "indent its keys")
            return {}
        entries: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.value not in allowed:
                rule = f"{what} may have the keys {list(allowed)}"
                self._mistake(key, rule, key.value, "remove it" + _hint(key.value, allowed))
            elif key.value in entries:
                self._mistake(key, f"{what} must have each key once", f"'{key.value}' again", "remove one")
            else:
                entries[key.value] = value
        return entries

    def _items(self, node: yaml.Node | None) -> list[yaml.Node]:
        if node is not None and not isinstance(node, yaml.SequenceNode):
            self._mistake(node, "models, columns and data_tests must be lists", self._value(node), "use '- '")
        return list(node.value) if isinstance(node, yaml.SequenceNode) else []

    def _value(self, node: yaml.Node) -> Any:
        try:
            return value_of(node)
        except (yaml.YAMLError, ValueError) as error:
            self._mistake(node, "a value must be plain YAML", str(error), "write text, a number or a timestamp")
            return None

    def _place(self, node: yaml.Node | None) -> str:
        return f"{self.path}:{node.start_mark.line + 1 if node else 1}"

    def _mistake(self, node: yaml.Node | None, rule: str, received: Any, remedy: str) -> None:
        self.mistakes.append(f"{self._place(node)}: {rule}; received {received!r}; {remedy}")


def _hint(word: Any, choices: Sequence[str] | Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(str(word), list(choices), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _instant(value: Any) -> Any:
    """A date, a naive time or ISO text as a time in UTC; anything else as it is."""
    if isinstance(value, str | date):
        with suppress(ValueError):
            value = datetime.fromisoformat(str(value))
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return value
