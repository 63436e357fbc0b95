"""Renew the generated parts of docs/policy.md: the code's own words in, the document's text out. Never edits prose."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.durable import replaced
from selfheal_assets.operations import policy_actions, policy_diagnosis, policy_fields
from selfheal_assets.project import PROJECT

DOCUMENT = PROJECT / "docs" / "policy.md"
PARTS: Mapping[str, Callable[[], str]] = {
    "signals": policy_diagnosis.signals,
    "fixed figures": policy_diagnosis.fixed_figures,
    "states": policy_diagnosis.states,
    "columns": policy_diagnosis.columns,
    "decision table": policy_diagnosis.decision_table,
    "gravity": policy_diagnosis.gravity,
    "causes": policy_actions.causes,
    "actions": policy_actions.actions,
    "fields": policy_fields.field_tables,
    "holds": policy_actions.holds,
    "state diagram": policy_actions.state_diagram,
    "incident states": policy_actions.incident_states,
    "results": policy_actions.results,
}
"""What stands between `<!-- generated: NAME -->` and `<!-- end: NAME -->`."""
MARKED = re.compile(r"<!-- generated: (?P<name>[^>]+?) -->\n.*?<!-- end: (?P=name) -->", re.S)
MARKER = re.compile(r"<!-- (?:generated|end): ")


def renewed(text: str) -> str:
    """The document with every part between markers made anew; all else as it was.

    Raises SelfhealError when a part has no place, an unknown one has, or markers do not pair.
    """
    names, markers = [found["name"] for found in MARKED.finditer(text)], len(MARKER.findall(text))
    if sorted(names) != sorted(PARTS) or markers != 2 * len(names):
        missing, unknown = sorted(set(PARTS) - set(names)), sorted(set(names) - set(PARTS))
        raise SelfhealError(
            "The policy document must have the pair of markers of every part once; received a text without "
            f"{missing or 'none missing'}, with unknown {unknown or 'none'}, {markers} markers in all. "
            "Put `<!-- generated: NAME -->` and `<!-- end: NAME -->` where each belongs."
        )
    return MARKED.sub(lambda found: _part(found["name"]), text)


def _part(name: str) -> str:
    return f"<!-- generated: {name} -->\n\n{PARTS[name]()}\n\n<!-- end: {name} -->"


def write(document: Path = DOCUMENT) -> bool:
    """Renew the file; whether anything changed. Raises SelfhealError outside a checkout."""
    if not document.exists():
        raise SelfhealError(
            f"The policy document is renewed in a checkout of the project; received {document}, which is not there. "
            "Run this in a checkout."
        )
    before = document.read_text(encoding="utf-8")
    after = renewed(before)
    if after != before:
        with replaced(document) as draft:
            draft.write_text(after, encoding="utf-8")
    return after != before
