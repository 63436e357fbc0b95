"""Renew the table of settings in docs/configuration.md: the code's own words in, the text out. Never edits prose."""

import re
from pathlib import Path
from typing import Any, get_args, get_origin

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.durable import replaced
from selfheal_assets.operations.attribute_docs import documented
from selfheal_assets.project import PROJECT
from selfheal_assets.settings import REQUIRED, Settings, variable

DOCUMENT = PROJECT / "docs" / "configuration.md"
BEGIN, END = "<!-- generated: settings -->", "<!-- end: settings -->"
_PART = re.compile(f"{BEGIN}.*?{END}", re.S)


def settings_table() -> str:
    """Markdown: every variable, what it may be, its default, and what it means."""
    fields = Settings.model_fields
    docs = documented(Settings, list(fields))
    rows = [
        f"| `{variable(name)}` | {_default(name, field.default)} | {_choices(field.annotation)}{docs[name]} |"
        for name, field in fields.items()
    ]
    return "\n".join(["| variable | default | what it is |", "| --- | --- | --- |", *rows])


def renewed(text: str) -> str:
    """The document with its table made anew. Raises SelfhealError when it has no place for it."""
    if len(_PART.findall(text)) != 1:
        raise SelfhealError(
            f"The document of the settings must have {BEGIN} and {END} once; received a text without. Put them back."
        )
    return _PART.sub(lambda _: f"{BEGIN}\n\n{settings_table()}\n\n{END}", text)


def write(document: Path = DOCUMENT) -> bool:
    """Renew the file; whether anything changed."""
    before = document.read_text(encoding="utf-8")
    after = renewed(before)
    if after != before:
        with replaced(document) as draft:
            draft.write_text(after, encoding="utf-8")
    return after != before


def _default(name: str, default: Any) -> str:
    if default is None:
        return "must be set in production" if name in REQUIRED else "unset"
    return f"`{default}`"


def _choices(annotation: Any) -> str:
    from typing import Literal

    if get_origin(annotation) is not Literal:
        return ""
    return " or ".join(f"`{choice}`" for choice in get_args(annotation)) + ". "
