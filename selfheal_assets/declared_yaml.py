"""Parse the YAML of declarations: text in; nodes that know their lines, or plain values, out. Never runs a tag."""

from collections.abc import Callable
from typing import Any

import yaml

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where PyYAML was built with it: a tenth of the time, which every run of every model pays."""


def composed(text: str) -> yaml.Node | None:
    """The document's nodes; None for an empty one. Raises yaml.YAMLError."""
    node: yaml.Node | None = _parsed(yaml.compose, text)
    return node


def loaded(text: str) -> Any:
    """The document's values. Raises yaml.YAMLError."""
    return _parsed(yaml.load, text)


def value_of(node: yaml.Node) -> Any:
    """The value of a node that was composed. Raises yaml.YAMLError, or ValueError for what its type cannot be."""
    return yaml.constructor.SafeConstructor().construct_object(node, deep=True)


def _parsed(parse: Callable[..., Any], text: str) -> Any:
    try:
        return parse(text, Loader=LOADER)
    except yaml.YAMLError:
        # Python's own parser names the line of a mistake more closely.
        return parse(text, Loader=yaml.SafeLoader)
