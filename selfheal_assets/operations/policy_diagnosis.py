"""Write down how selfheal diagnoses: the core's signals and its decision table in, Markdown out. Never diagnoses."""

import ast
from collections.abc import Collection
from functools import cache

from selfheal_assets.core import drift_feature, estimated
from selfheal_assets.core.causes import GRAVITY, NOT_AN_INCIDENT, Cause
from selfheal_assets.core.diagnosis import LATEST, TELLS_NOTHING
from selfheal_assets.core.diagnosis_rules import RULES, Derived, Rule
from selfheal_assets.core.evidence import UNBOUND, Signal
from selfheal_assets.core.statistics import delong, risk_monitor
from selfheal_assets.core.windows import State
from selfheal_assets.operations.attribute_docs import documented, split_by
from selfheal_assets.operations.markdown import code, markdown_table
from selfheal_assets.project import PROJECT
from selfheal_assets.stages import champion_batches, drift_frames, situation

MEASURING = ("stages", "sensors", "serving")
"""Rooms whose modules make evidence."""
EXPLAINED = ("Raised", "Unknown", "Blind")


def signals() -> str:
    """One row a signal: what it is, what makes it RAISED and UNKNOWN, where it is blind, which module records it."""
    docs, recorders = documented(Signal, [s.name for s in Signal]), recorded_by()
    rows = []
    for signal in Signal:
        what, parts = split_by(EXPLAINED, docs[signal.name])
        where = code(*recorders[signal]) if signal in recorders else "nothing yet"
        rows.append([code(signal), what, *(parts.get(label, "") for label in EXPLAINED), where])
    headings = ("signal", "what is watched", "RAISED when", "UNKNOWN when", "blind", "recorded by")
    return markdown_table(headings, rows)


@cache
def recorded_by() -> dict[Signal, tuple[str, ...]]:
    """The modules that make evidence of each signal; a signal that none makes is left out."""
    found: dict[Signal, list[str]] = {}
    package = PROJECT / "selfheal_assets"
    for path in sorted(path for room in MEASURING for path in (package / room).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        makes = any(isinstance(n, ast.Call) and ast.unparse(n.func) == "Evidence" for n in ast.walk(tree))
        named = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)} if makes else set[str]()
        for signal in Signal:
            if f"Signal.{signal.name}" in named:
                found.setdefault(signal, []).append(path.relative_to(package).with_suffix("").as_posix())
    return {signal: tuple(modules) for signal, modules in found.items()}


def states() -> str:
    """What each state of a column of the decision table means."""
    docs = documented(State, [state.name for state in State])
    return markdown_table(("state", "what it means"), [(code(state), docs[state.name]) for state in State])


def columns() -> str:
    """The columns that are made of signals, and which signals are looked at in another way than k of n."""
    docs = documented(Derived, [column.name for column in Derived])
    table = markdown_table(("column", "what it is made of"), [(code(d), docs[d.name]) for d in Derived])
    parts = [
        f"Of {_named(LATEST)} the newest statement alone counts.",
        f"{_named(UNBOUND)} stand when another champion serves; all others are about one champion, and begin anew "
        "with the next.",
        f"{_named(TELLS_NOTHING)} by themselves open no incident without a cause.",
    ]
    return "\n\n".join([table, *parts])


def decision_table() -> str:
    """One row a rule, in the order in which they are read."""
    headings = ("cause", "when", "because", "explains also")
    rows = [(code(rule.cause), _needs(rule), rule.why, _others(rule)) for rule in RULES]
    return markdown_table(headings, rows)


def gravity() -> str:
    """Every cause, the gravest first."""
    docs = documented(Cause, [cause.name for cause in Cause])
    rows = [
        (place, code(cause), docs[cause.name], "no" if cause in NOT_AN_INCIDENT else "yes")
        for place, cause in enumerate(GRAVITY, start=1)
    ]
    return markdown_table(("", "cause", "what it says", "incident"), rows)


def fixed_figures() -> str:
    """The figures that no field declares."""
    rows = [
        (f"{drift_feature.MISSING_SHARE_MOVE:.0%}", "move of a share of missing values that is too small to matter"),
        (f"{drift_feature.UNSEEN_SHARE:.0%}", "share of a batch's rows from which new categories raise `drift`"),
        (f"{drift_frames.BATCH_ROWS:,}", "rows of a batch that drift is measured on; of more, a sample"),
        (f"{estimated.OUTSIDE_SUPPORT:.0%}", "share of scores outside the holdout's past which nothing is estimated"),
        (delong.MIN_CLASS_ROWS, "rows of each label that a metric's interval needs"),
        (champion_batches.STREAM_BATCHES, "newest batches of the stream that `risk` is measured on"),
        (risk_monitor.RESTART_EVERY, "labelled rows after which the `risk` detector begins a further sequence"),
        (situation.EVIDENCE_READ, "newest pieces of a model's evidence that a decision looks at"),
        (situation.DECISIONS_READ, "newest decisions that it looks at"),
        (situation.INCIDENTS_READ, "newest incidents that it looks at, of the open and of the ended ones each"),
    ]
    return markdown_table(("figure", "what it is"), rows)


def _needs(rule: Rule) -> str:
    return "; ".join(f"{code(column)} {_one_of(allowed)}" for column, allowed in rule.needs.items())


def _one_of(allowed: Collection[State]) -> str:
    return " or ".join(state for state in State if state in allowed)


def _others(rule: Rule) -> str:
    return _named(rule.explains - {rule.subject})


def _named(some: Collection[str]) -> str:
    return code(*(column for column in (*Signal, *Derived) if column in some))
