"""Judge a soak: what was asked, answered, landed and injected in, checks out. Never passes what was not measured."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from soak_faults import KILLED, RELEASED, STORE_AWAY, Injected
from soak_memory import Sample

FOLLOW_SECONDS, RESTART_SECONDS = 5.0, 30.0
GROWTH_LIMIT, JUDGED_SECONDS = 0.05, 300.0
"""By how much memory may grow from the first to the last fifth of a life, counted from when its caches are full; a life
shorter than that is not judged."""
CLOCK_SECONDS = 0.02
"""Between the server's clock at an answer, and the load generator's when it has arrived."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; see soak_load.py."""

    due: float
    ended: float
    outcome: str
    level: str = ""
    version: str = ""
    score: float = 0.0
    kept: bool = True

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One statement about the run."""

    says: str
    found: str
    passed: bool | None
    """None: the run was too short to say."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What happened."""

    asked: Mapping[str, Asked]
    """By event id."""
    landed: Sequence[tuple[str, float]]
    """Event id and score of each landed row."""
    injected: Sequence[Injected]
    memory: Sequence[Sample]
    ended: float
    commit_s: float
    breaker_s: float
    settle_s: float
    """Until the server's bounded caches are full."""

    def of(self, kind: str) -> list[Injected]:
        return [one for one in self.injected if one.kind == kind]


def read_asked(file: Path) -> dict[str, Asked]:
    """Requests by event id."""
    found = {}
    for line in file.read_text(encoding="ascii").splitlines():
        event, due, ended, outcome, *rest = line.split("\t")
        said = (rest[0], rest[1], float(rest[2]), rest[3] == "kept") if rest else ()
        found[event] = Asked(float(due), float(ended), outcome, *said)
    return found


def read_landed(landing: Path) -> list[tuple[str, float]]:
    """Event id and score of every row that the server put into landing."""
    from pyarrow import parquet

    found = list[tuple[str, float]]()
    for file in sorted(landing.glob("served-*.parquet")):
        table = parquet.read_table(file, columns=["payment_id", "selfheal_score"])
        found += zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True)
    return found


def checks(run: Run) -> list[Check]:
    """All of them; the run passes when none failed."""
    return [
        *_nothing_lost(run),
        _answered(run),
        _restarted(run),
        _store(run),
        _live_again(run),
        _released(run),
        _memory(run),
    ]


def _nothing_lost(run: Run) -> list[Check]:
    answers = {event: one for event, one in run.asked.items() if one.ok}
    landed = dict(run.landed)
    missing = [one for event, one in answers.items() if event not in landed]
    kills = [fault.began for fault in run.of(KILLED)]
    windowed = [one for one in missing if any(in_window(one, kill, run.commit_s) for kill in kills)]
    other = len(missing) - len(windowed)
    differ = sum(landed[event] != one.score for event, one in answers.items() if event in landed)
    again = len(run.landed) - len(landed)
    unkept = sum(not one.kept for one in answers.values())
    found = f"{len(answers):,} answered; {other} missing, and {len(windowed)} of the commit window before a SIGKILL"
    return [
        Check(says="every answered event landed", found=found, passed=not other and bool(answers)),
        Check(says="no answer said that the log did not take it", found=f"{unkept} did", passed=not unkept),
        Check(says="with the score that was answered", found=f"{differ} differ", passed=not differ and bool(landed)),
        Check(says="once", found=f"{again} landed more than once", passed=not again),
    ]


def in_window(one: Asked, kill: float, commit_s: float) -> bool:
    """Whether it was answered within the commit window before the kill, or reached the client just after it."""
    return -CLOCK_SECONDS - 1.0 <= kill - one.ended <= commit_s + CLOCK_SECONDS and one.due <= kill


def downtimes(run: Run) -> list[tuple[float, float]]:
    """From each kill to the first answer to a request that was due after it; to the end where there was none."""
    answers = sorted((one.due, one.ended) for one in run.asked.values() if one.ok)
    kills = [fault.began for fault in run.of(KILLED)]
    return [(kill, next((ended for due, ended in answers if due > kill and ended > kill), run.ended)) for kill in kills]


def _answered(run: Run) -> Check:
    failed = [one for one in run.asked.values() if not one.ok]
    spans = downtimes(run)
    outside = [one for one in failed if not _within(one, spans)]
    kinds = ", ".join(f"{kind} {count}" for kind, count in Counter(one.outcome for one in outside).most_common())
    found = f"{len(outside)} did{f' ({kinds})' if kinds else ''}; {len(failed) - len(outside)} while it was down"
    return Check(says="no request failed but while a killed server was down", found=found, passed=not outside)


def _within(one: Asked, spans: Sequence[tuple[float, float]]) -> bool:
    """Whether the request met one of the times, at its beginning or its end."""
    return any(begin - CLOCK_SECONDS <= one.ended and one.due <= end for begin, end in spans)


def _restarted(run: Run) -> Check:
    took = [end - begin for begin, end in downtimes(run)]
    found = ", ".join(f"{seconds:.1f} s" for seconds in took) or "none was killed"
    passed = max(took) <= RESTART_SECONDS if took else None
    return Check(says=f"a killed server answers again within {RESTART_SECONDS:g} s", found=found, passed=passed)


def _store(run: Run) -> Check:
    spans = [(one.began, one.ended) for one in run.of(STORE_AWAY)]
    asked = [one for one in run.asked.values() if any(a <= one.due and one.ended <= b for a, b in spans)]
    levels = Counter(one.level for one in asked if one.ok)
    found = ", ".join(f"{level} {count:,}" for level, count in levels.most_common()) or "none was asked"
    # On a machine that is late, a killed server may not be back yet.
    down = downtimes(run)
    failed = [one for one in asked if not one.ok and not _within(one, down)]
    passed = not failed and {"cached", "default"} & levels.keys() != set() if asked else None
    return Check(says="without the feature store every request was answered", found=found, passed=passed)


def _live_again(run: Run) -> Check:
    """Of each absence, how long after its end the first answer had live features."""
    took, open_ = [], 0
    for fault in run.of(STORE_AWAY):
        live = [one.ended for one in run.asked.values() if one.level == "live" and one.due > fault.ended]
        if live:
            took.append(min(live) - fault.ended)
        elif run.ended - fault.ended > run.breaker_s + FOLLOW_SECONDS:
            took.append(float("inf"))
        else:
            open_ += 1
    limit = run.breaker_s + FOLLOW_SECONDS
    found = ", ".join([f"{seconds:.1f} s" for seconds in took] + ["the run ended before"] * open_) or "never away"
    passed = max(took) <= limit if took else None
    return Check(says=f"features are live within {limit:g} s of the store's return", found=found, passed=passed)


def _released(run: Run) -> Check:
    took, late = [], 0
    for fault in run.of(RELEASED):
        after = [one for one in run.asked.values() if one.ok and fault.began < one.due]
        until = min((o.began for o in run.of(RELEASED) if o.began > fault.began), default=run.ended)
        mine = [one for one in after if one.due < until]
        took.append(min((one.ended for one in mine if one.version == fault.detail), default=float("inf")) - fault.began)
        late += sum(one.version != fault.detail for one in mine if one.due > fault.began + FOLLOW_SECONDS)
    found = f"{', '.join(f'{seconds:.1f} s' for seconds in took) or 'none'}; {late} answers of the old one later"
    passed = max(took) <= FOLLOW_SECONDS and not late if took else None
    return Check(says=f"a release is followed within {FOLLOW_SECONDS:g} s", found=found, passed=passed)


def lives(samples: Sequence[Sample]) -> dict[int, list[Sample]]:
    """By process, in order of time."""
    found: dict[int, list[Sample]] = {}
    for one in samples:
        found.setdefault(one.pid, []).append(one)
    return found


def growth(life: Sequence[Sample], settle_s: float) -> tuple[float, float] | None:
    """Median memory of the first and of the last fifth of a life after it settled; None when that is too short."""
    settled = [one.mb for one in life if one.at >= life[0].at + settle_s]
    if not settled or life[-1].at - life[0].at - settle_s < JUDGED_SECONDS:
        return None
    fifth = max(1, len(settled) // 5)
    return median(settled[:fifth]), median(settled[-fifth:])


def _memory(run: Run) -> Check:
    found = [grown for life in lives(run.memory).values() if (grown := growth(life, run.settle_s)) is not None]
    words = ", ".join(f"{first:.0f} MB, then {last:.0f} MB" for first, last in found)
    passed = all(last <= first * (1.0 + GROWTH_LIMIT) for first, last in found) if found else None
    says = f"memory does not grow by {GROWTH_LIMIT:.0%} once the caches are full"
    return Check(says=says, found=words or f"no process lived {run.settle_s + JUDGED_SECONDS:.0f} s", passed=passed)
