"""Lay out for a terminal what the demonstration showed: its result in, tables and the verdict out. Computes nothing."""

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from selfheal_assets.operations.demo_result import Result
from selfheal_assets.operations.demo_served import LAST_SERVER_GOAL_S, ROLLED_BACK_GOAL_S, Served
from selfheal_assets.operations.report import batch_table, champion_table, incident_table
from selfheal_assets.wiring import Services


def demo_report(services: Services, result: Result, url: str) -> RenderableType:
    """The timeline, the incidents, the registry's versions, what live traffic met, and the verdict."""
    failures = result.failures()
    verdict = Text(
        f"{'FAILED' if failures else 'PASSED'} in {result.wall_s:.0f} s", style="bold red" if failures else "bold green"
    )
    return Group(
        batch_table(result.batches, "what landed, and what was done", result.truths),
        incident_table(result.cases, f"incidents ({result.metric})"),
        champion_table(result.champions, result.metric),
        *([] if result.served is None else [served_table(result.served)]),
        verdict,
        *(Text(f"not met: {failure}", style="red") for failure in failures),
        Text(f"home: {services.home}   UI: {url} (while it runs; `selfheal demo --stay` keeps it)"),
    )


def served_table(served: Served) -> Table:
    """The figures of live traffic, with the goals."""
    table = Table("live traffic", "", "goal", title="what live traffic met")
    for name, found, goal in _lines(served):
        table.add_row(name, found, goal)
    return table


def _lines(served: Served) -> list[tuple[str, str, str]]:
    killed, store, log = served.killed, served.store, served.logged
    return [
        ("requests answered", f"{served.requests:,} ({served.rows:,} rows)", ""),
        ("requests failed", f"{served.failed} ({served.tried_again} tries were made again)", "0 but at the kill"),
        ("rows by features", _counts(served.levels), ""),
        (f"version {served.good.version}", " -> ".join(served.good.states), "champion"),
        (f"bad version {served.bad.version}", f"{' -> '.join(served.bad.states)}, {served.bad.verdict}", "taken back"),
        ("rows exposed to it", f"{served.exposed:,} of {served.rows:,}", ""),
        ("its first answer to its last", _seconds(served.taken.first_to_last_s), f"{ROLLED_BACK_GOAL_S:g} s"),
        ("verdict to its last answer", _seconds(served.taken.verdict_to_last_s), f"{LAST_SERVER_GOAL_S:g} s"),
        (
            f"{store.seconds:.0f} s without a feature store",
            f"{store.answered:,} requests answered, {store.failed} failed; rows {_counts(store.levels)}",
            "0 failed",
        ),
        ("live features, after it was back", _seconds(store.live_again_s), ""),
        ("killed server", f"silent for {killed.silent_s:g} s, {killed.failed} requests failed", ""),
        (
            "rows in the log",
            f"{log.rows:,}: {log.missing} missing, {log.in_commit_window} of the commit window at the kill, "
            f"{log.unanswered} whose answer was under way",
            "0 missing",
        ),
    ]


def _counts(levels: Mapping[str, int]) -> str:
    return ", ".join(f"{level} {rows:,}" for level, rows in sorted(levels.items(), key=lambda each: -each[1]))


def _seconds(value: float | None) -> str:
    return "it never did" if value is None else f"{value:g} s"
