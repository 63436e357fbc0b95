"""Judge the model servers by their last minute: counts, probes and deaths in, a status a signal out. Never acts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median
from typing import Any

from selfheal_assets.core.evidence import Signal, Status
from selfheal_assets.core.server_reading import LIVE, ServerCounts, ServingStatus
from selfheal_assets.core.server_window import ServerWindow
from selfheal_assets.core.serving_spec import ServingSpec

FEWEST = 3
"""So many requests, rows or probes must speak for a fault: one alone may be chance."""
SILENT_SECONDS = 10.0
"""A process that has not answered for this long, or for the whole window, hangs."""
START_SECONDS = 60.0
"""So long a server may take from its start until it is ready."""
QUANTILE = 0.99


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What one signal says."""

    signal: Signal
    status: Status
    value: float | None
    threshold: float | None
    sample_size: int
    reason: str
    by_requests: bool = False
    """Raised by what requests met, not by the state of a process."""
    details: Mapping[str, Any] = field(default_factory=dict)


def assess(spec: ServingSpec, status: ServingStatus, window: ServerWindow, *, champion: bool) -> list[Assessment]:
    """ERRORS, TIMEOUTS, LATENCY and FEATURE_STORE, in this order. `champion`: whether there is a model that servers
    have had the time to load.

    RAISED where `FEWEST` requests, rows or probes show a fault of the declared size, or a process died, hangs, or is
    not ready; CLEAR where requests or probes were answered well; UNKNOWN without either.
    """
    counts = window.counted()
    problems = tuple(_problems(spec, status, window, champion=champion))
    answered = counts.ok + counts.error + counts.timeout
    probed = [probe for probe in window.probes() if probe.ok]
    seen = bool(answered or probed)
    return [
        _errors(spec, counts, answered, problems, seen=seen and _all_well(window)),
        _share(spec, Signal.TIMEOUTS, counts.timeout, answered, "ended without an answer in time", seen=seen),
        _latency(spec, counts, window),
        _feature_store(spec, counts, window),
    ]


def _problems(
    spec: ServingSpec, status: ServingStatus, window: ServerWindow, *, champion: bool
) -> Iterator[tuple[str, int | None]]:
    """What is wrong with processes: in words, and which one is to be replaced."""
    now, newest, patience = window.newest.at, window.newest.servers, min(SILENT_SECONDS, spec.window_seconds)
    for death in status.deaths:
        if now - death.at <= timedelta(seconds=spec.window_seconds):
            yield f"process {death.pid} ended unasked: {death.words}", death.pid
    for key, one in newest.items():
        old = (now - one.started).total_seconds() > START_SECONDS
        if one.counts is None:
            if window.silent_for(key).total_seconds() >= patience and (old or _ever_answered(window, key)):
                yield f"the server at {one.url} (process {one.pid}) hangs: {'; '.join(one.problems)}", one.pid
        elif not one.ready and champion and old:
            yield f"the server at {one.url} is not ready: {'; '.join(one.problems) or 'it does not say why'}", one.pid
        elif one.ready:
            last = window.probes(key)[-FEWEST:]
            if len(last) == FEWEST and not any(probe.ok for probe in last):
                yield f"the server at {one.url} fails its probes: {last[-1].problem}", one.pid
    kept = status.wanted_since is not None and (now - status.wanted_since).total_seconds() > START_SECONDS
    if kept and not newest and _empty_for(window).total_seconds() >= patience:
        yield "no server runs, and one is to be kept running", None


def _ever_answered(window: ServerWindow, key: str) -> bool:
    return any(key in look.servers and look.servers[key].counts is not None for look in window.looks)


def _empty_for(window: ServerWindow) -> timedelta:
    since = window.newest.at
    for look in reversed(window.looks):
        if look.servers:
            break
        since = look.at
    return window.newest.at - since


def _all_well(window: ServerWindow) -> bool:
    """Whether every server was ready when it answered last, and that was a moment ago."""
    newest = window.newest.servers
    return bool(newest) and all(_well(window, key) for key in newest)


def _well(window: ServerWindow, key: str) -> bool:
    told = [look.servers[key] for look in window.looks if key in look.servers]
    answered = [one for one in told if one.counts is not None]
    return bool(answered) and answered[-1].ready and window.silent_for(key).total_seconds() < SILENT_SECONDS


def _errors(
    spec: ServingSpec,
    counts: ServerCounts,
    answered: float,
    problems: Sequence[tuple[str, int | None]],
    *,
    seen: bool,
) -> Assessment:
    found = _share(spec, Signal.ERRORS, counts.error, answered, "failed", seen=seen)
    if not problems:
        return found
    pids = sorted({pid for _, pid in problems if pid is not None})
    reasons = [words for words, _ in problems]
    return Assessment(
        signal=Signal.ERRORS,
        status=Status.RAISED,
        value=found.value,
        threshold=found.threshold,
        sample_size=found.sample_size,
        reason="; ".join([*reasons, found.reason] if found.status is Status.RAISED else reasons),
        by_requests=found.by_requests,
        details={"pids": pids, "rejected": counts.rejected},
    )


def _share(spec: ServingSpec, signal: Signal, failed: float, answered: float, verb: str, *, seen: bool) -> Assessment:
    share = failed / answered if answered else None
    raised = share is not None and failed >= FEWEST and share > spec.max_error_share
    status = Status.RAISED if raised else Status.CLEAR if seen else Status.UNKNOWN
    words = f"{failed:.0f} of {answered:.0f} requests of the last {spec.window_seconds:g} s {verb}"
    limit = f"; at most {spec.max_error_share:.1%} may" if raised else ""
    return Assessment(
        signal=signal,
        status=status,
        value=share,
        threshold=spec.max_error_share,
        sample_size=int(answered),
        reason=words + limit if answered else _without_requests(status),
        by_requests=raised,
    )


def _without_requests(status: Status) -> str:
    return "no requests came; probes were answered" if status is Status.CLEAR else "neither requests nor probes"


def _latency(spec: ServingSpec, counts: ServerCounts, window: ServerWindow) -> Assessment:
    limit_s = spec.max_latency_ms / 1000.0
    total = max(counts.within.values(), default=0.0)
    slow = total - _number_within(counts.within, limit_s)
    p99 = _quantile(counts.within, QUANTILE)
    probes = [probe.milliseconds for probe in window.probes() if probe.ok]
    value = 1000.0 * p99 if p99 is not None else None
    if total:
        raised = p99 is not None and p99 > limit_s and slow >= FEWEST
        status = Status.RAISED if raised else Status.CLEAR
        reason = (
            f"99% of {total:.0f} requests of the last {spec.window_seconds:g} s were answered within {value:.0f} ms"
        )
    elif len(probes) >= FEWEST:
        value = float(median(probes))
        status = Status.RAISED if value > spec.max_latency_ms else Status.CLEAR
        reason = f"no requests came; half of {len(probes)} probes took longer than {value:.0f} ms"
    else:
        status = Status.CLEAR if probes and max(probes) <= spec.max_latency_ms else Status.UNKNOWN
        reason = _without_requests(status)
    return Assessment(
        signal=Signal.LATENCY,
        status=status,
        value=value,
        threshold=spec.max_latency_ms,
        sample_size=int(total or len(probes)),
        reason=f"{reason}; {spec.max_latency_ms:g} ms are allowed" if status is Status.RAISED else reason,
        by_requests=status is Status.RAISED and bool(total),
    )


def _number_within(within: Mapping[float, float], seconds: float) -> float:
    """Requests within a time, from cumulative buckets: linear between two edges, as Prometheus interpolates."""
    low, below = 0.0, 0.0
    for edge, number in sorted(within.items()):
        if edge >= seconds:
            part = 1.0 if edge == seconds else 0.0 if edge == float("inf") else (seconds - low) / (edge - low)
            return below + part * (number - below)
        low, below = edge, number
    return below


def _quantile(within: Mapping[float, float], share: float) -> float | None:
    """Seconds within which that share of the requests was answered, as `histogram_quantile` of Prometheus has it.

    The largest finite edge stands for all that took longer; None without requests.
    """
    edges = sorted(within.items())
    total = edges[-1][1] if edges else 0.0
    if total <= 0:
        return None
    rank, low, below = share * total, 0.0, 0.0
    for edge, number in edges:
        if number >= rank:
            if edge == float("inf"):
                return low
            return low + (edge - low) * ((rank - below) / (number - below) if number > below else 1.0)
        low, below = edge, number
    return low


def _feature_store(spec: ServingSpec, counts: ServerCounts, window: ServerWindow) -> Assessment:
    rows = sum(counts.levels.values())
    worse = rows - counts.levels.get(LIVE, 0.0)
    share = worse / rows if rows else None
    opened = sum(one.breaker_open for one in window.newest.servers.values())
    levels = [probe.level for probe in window.probes() if probe.level is not None]
    last = levels[-FEWEST:]
    dead = len(last) == FEWEST and all(level != LIVE for level in last)
    missed = share is not None and worse >= FEWEST and share > spec.max_error_share
    reasons = [
        *(
            [f"{worse:.0f} of {rows:.0f} rows of the last {spec.window_seconds:g} s had no live features"]
            if rows
            else []
        ),
        *([f"{opened} servers do not ask it for now, as it failed too often in a row"] if opened else []),
        *([f"the last {len(last)} probes had no live features"] if dead else []),
    ]
    known = Status.CLEAR if rows or LIVE in last else Status.UNKNOWN
    status = Status.RAISED if missed or opened or dead else known
    return Assessment(
        signal=Signal.FEATURE_STORE,
        status=status,
        value=share,
        threshold=spec.max_error_share,
        sample_size=int(rows),
        reason="; ".join(reasons) or _without_requests(status),
        details={"levels": dict(counts.levels)},
    )
