"""Read the docstrings of a class's attributes from its source: a class in, texts by name out. Never runs the source."""

import ast
import inspect
import re
import textwrap
from collections.abc import Mapping, Sequence

from selfheal_assets.core.errors import SelfhealError


def attribute_docs(kind: type) -> dict[str, str]:
    """The text below each attribute, by the attribute's name, in the order of the source; "" where there is none.

    Paragraphs are one line each.
    """
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(found, ast.ClassDef)
    following = [*found.body[1:], ast.Pass()]
    return {
        name: _text(after)
        for statement, after in zip(found.body, following, strict=True)
        for name in _assigned(statement)
        if not name.startswith("_")
    }


def documented(kind: type, names: Sequence[str]) -> dict[str, str]:
    """`attribute_docs` of these names. Raises SelfhealError when one has no docstring."""
    docs = attribute_docs(kind)
    missing = [name for name in names if not docs.get(name)]
    if missing:
        raise SelfhealError(
            f"Every attribute that the policy document names must have a docstring; received {kind.__name__} without "
            f"one for {missing}. Say below it what it means and what follows from it."
        )
    return {name: docs[name] for name in names}


def split_by(labels: Sequence[str], text: str) -> tuple[str, Mapping[str, str]]:
    """What stands before the first labelled paragraph, and each such paragraph (`Label: ...`) without its label."""
    parts, before = dict[str, str](), list[str]()
    for paragraph in text.split("\n"):
        label, _, rest = paragraph.partition(": ")
        if label in labels:
            parts[label] = rest[:1].upper() + rest[1:]
        elif paragraph:
            before.append(paragraph)
    return " ".join(before), parts


def _assigned(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.AnnAssign):
        targets: list[ast.expr] = [statement.target]
    else:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _text(after: ast.stmt) -> str:
    if not (
        isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
    ):
        return ""
    # A line that begins with a label begins a paragraph of its own, as an empty line does.
    lines = re.sub(r"\n(?=[A-Z][a-z]+: )", "\n\n", inspect.cleandoc(after.value.value))
    return "\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", lines))
