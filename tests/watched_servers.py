"""Servers as a sensor sees them: counts and probes in, readings, looks and pages of metrics out."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from selfheal_assets.core.server_reading import Death, Probe, Sample, ServerReading, ServingStatus
from selfheal_assets.core.server_window import ServerWindow, look_at

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG_AGO = BEGIN - timedelta(hours=1)
GOOD = Probe(ok=True, level="live", milliseconds=3.0)
BAD = Probe(ok=False, level=None, milliseconds=0.0, problem="20 of 20 scores differ")


def samples(
    ok: float = 0,
    error: float = 0,
    timeout: float = 0,
    *,
    slow: float = 0,
    levels: Mapping[str, float] | None = None,
    breaker_open: bool = False,
    business: Mapping[str, tuple[float, float, float]] | None = None,
    scores: Mapping[str, Sequence[int]] | None = None,
) -> list[Sample]:
    """What a server's metrics say: `slow` of the requests took 0.2 to 0.25 s, the others less than 10 ms.

    `scores`: by version, how many in each of the equal buckets.
    """
    outcomes = {"ok": ok, "error": error, "timeout": timeout}
    total = ok + error + timeout
    found = [_sample("selfheal_requests_total", value, model="m", outcome=name) for name, value in outcomes.items()]
    edges = {"0.01": total - slow, "0.1": total - slow, "0.25": total, "+Inf": total}
    found += [_sample("selfheal_request_seconds_bucket", n, model="m", le=edge) for edge, n in edges.items()]
    found += [_sample("selfheal_feature_rows_total", n, level=name) for name, n in (levels or {}).items()]
    for version, (values, sum_, squares) in (business or {}).items():
        found += [
            _sample("selfheal_business_total", values, version=version),
            _sample("selfheal_business_sum_total", sum_, version=version),
            _sample("selfheal_business_squares_total", squares, version=version),
        ]
    for version, counts in (scores or {}).items():
        upto = [*accumulate(counts), sum(counts)]
        edges_ = [*(f"{(place + 1) / len(counts)}" for place in range(len(counts))), "+Inf"]
        arm = {"version": version, "arm": "champion", "rollout": ""}
        found += [_sample("selfheal_score_bucket", n, le=le, **arm) for le, n in zip(edges_, upto, strict=True)]
    return [*found, _sample("selfheal_breaker_open", float(breaker_open)), _sample("selfheal_ready", 1.0)]


def _sample(name: str, value: float, **labels: str) -> Sample:
    return Sample(name=name, labels=labels, value=value)


def reading(told: Sequence[Sample] | None, **changes: Any) -> ServerReading:
    whole: dict[str, Any] = {"url": "http://127.0.0.1:1", "pid": 7, "started": LONG_AGO, "ready": True, "probe": GOOD}
    if told is None:
        whole |= {"ready": False, "probe": None, "problems": ("ReadTimeout: no answer in time",)}
    return ServerReading(samples=told, **{**whole, **changes})


def status(*servers: ServerReading, deaths: Sequence[Death] = (), **changes: Any) -> ServingStatus:
    return ServingStatus(servers=servers, deaths=tuple(deaths), **changes)


def looked(
    *statuses: ServingStatus, every: float = 5.0, window: float = 60.0, begin: datetime = BEGIN
) -> tuple[ServingStatus, ServerWindow]:
    """One look after another; the last status, and the window."""
    seen = ServerWindow()
    for number, one in enumerate(statuses):
        seen = seen.with_look(look_at(one, begin + timedelta(seconds=every * number)), window)
    return statuses[-1], seen


def page(told: Sequence[Sample]) -> str:
    """In Prometheus' text format."""
    lines = []
    for one in told:
        labels = ",".join(f'{name}="{value}"' for name, value in one.labels.items())
        lines.append(f"{one.name}{{{labels}}} {one.value}" if labels else f"{one.name} {one.value}")
    return "\n".join(lines) + "\n"
