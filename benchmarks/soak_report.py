"""Write the soak's report: a run and its checks in, Markdown out. Never judges."""

from collections import Counter
from collections.abc import Sequence

from markdown import machine, table
from serving_load import quantile_ms
from soak_verdict import Check, Run, lives

INTRODUCTION = """\
Made by `{command}`. One server of the payments model under its supervisor, asked {rate:g} times a second for
{minutes:g} minutes by a process of its own, while faults are injected: the server killed by SIGKILL, once while the
registry is away; the feature store's file and the registry's database moved away and back; the champion's alias moved
between two versions. The load generator asks for every event once and never again: what fails is lost to it. Every
answered event id and score is compared with what the prediction log has landed."""
MISLEADS = """\
- **A killed server may lose answers** of the last `commit_ms` ({commit_ms:g} ms): they were given and not yet on
  disk. That is the declared price of answering before the disk does; the count is above. Requests that found no
  server failed, as the load generator asks once. The client of `selfheal_assets.serving.client` asks again, with the
  same event id.
- **Memory** is resident memory of each process, every second. A server keeps up to 50,000 recent answers and 10,000
  entities on purpose; it is judged from {settle:.0f} s after its start, when those are full at this rate, and only
  over a life of five minutes more.
- **A local home**: the store is SQLite, the disk is this machine's, and nothing crosses a network. A store that
  hangs, a disk that is full or slow, and a server that hangs are covered by tests, not by this run.
- **One machine runs everything**, the load generator included; longest latencies are also those of its scheduler."""


def report(run: Run, found: Sequence[Check], *, command: str, rate: float, minutes: float) -> str:
    """Markdown; its first line under the heading is the verdict."""
    parts = [
        "# A soak with faults",
        f"**{verdict(found)}**",
        INTRODUCTION.format(command=command, rate=rate, minutes=minutes),
        "## What was checked",
        table(["", "found", "passed"], [[one.says, one.found, _passed(one)] for one in found]),
        "## The faults",
        _faults(run),
        "## The answers",
        _answers(run),
        "## The memory",
        _memory(run),
        "## What misleads",
        MISLEADS.format(commit_ms=1000.0 * run.commit_s, settle=run.settle_s),
        f"Measured with {machine()}.",
    ]
    return "\n\n".join(parts)


def verdict(found: Sequence[Check]) -> str:
    """In a few words."""
    if any(one.passed is False for one in found):
        return "FAILED."
    open_ = sum(one.passed is None for one in found)
    return f"Passed, with {open_} checks for which the run was too short." if open_ else "Passed."


def _passed(one: Check) -> str:
    return {True: "yes", False: "**no**", None: "too short to say"}[one.passed]


def _faults(run: Run) -> str:
    began = min(one.due for one in run.asked.values())
    rows = []
    for one in sorted(run.injected, key=lambda fault: fault.began):
        lasted = f"{one.ended - one.began:.0f} s" if one.ended > one.began + 0.5 else "-"
        detail = {"killed": "SIGKILL", "release swapped": f"to version {one.detail}"}.get(
            one.kind, "moved away, and back"
        )
        rows.append([one.kind, f"{one.began - began:,.0f} s", lasted, detail])
    return table(["fault", "after", "for", "how"], rows)


def _answers(run: Run) -> str:
    ok = [one for one in run.asked.values() if one.ok]
    took = [one.ended - one.due for one in ok]
    rows = [["requests", f"{len(run.asked):,}"], ["answered", f"{len(ok):,}"]]
    rows += [
        [f"with features that were {level}", f"{count:,}"] for level, count in Counter(o.level for o in ok).items()
    ]
    rows += [
        [f"by version {version}", f"{count:,}"] for version, count in sorted(Counter(o.version for o in ok).items())
    ]
    outcomes = Counter(one.outcome for one in run.asked.values() if not one.ok)
    rows += [[f"failed: {outcome}", f"{count:,}"] for outcome, count in outcomes.most_common()]
    rows += [["rows landed", f"{len(run.landed):,}"]]
    shares = ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "longest"))
    rows += [[f"{name}, from when it was due", f"{quantile_ms(took, share):.1f} ms"] for share, name in shares]
    return table(["", "all of the run"], rows)


def _memory(run: Run) -> str:
    rows = []
    for number, life in enumerate(lives(run.memory).values(), start=1):
        moments = [life[round(share * (len(life) - 1))].mb for share in (0.25, 0.5, 0.75, 1.0)]
        lived = life[-1].at - life[0].at
        rows.append([f"process {number}", f"{lived:,.0f} s", *(f"{mb:.0f}" for mb in moments), f"{_most(life):.0f}"])
    return table(["resident, MB", "lived", "at a quarter", "at half", "at three", "at the end", "most"], rows)


def _most(life: Sequence[object]) -> float:
    return max(one.mb for one in life)  # type: ignore[attr-defined]
