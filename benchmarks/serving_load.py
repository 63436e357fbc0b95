"""Load a server from a process of its own: a plan in JSON in, rates and latencies out. Never waits to send in time.

`closed`: every connection sends its next request when it has its answer. `open`: requests are due at a fixed rate, and
latency counts from when a request was due, whether a connection was free by then or not: what a slow server holds up is
counted in full (Tene's coordinated omission).
"""

import json
import select
import sys
from collections import deque
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from fresh_process import say
from serving_wire import Connection, Template, get

PATIENCE_SECONDS = 10.0
"""For answers that are due when the time is over."""


@dataclass
class Seen:
    """What a measurement saw."""

    latencies: list[float] = field(default_factory=list)
    """Of requests that were answered with 200. Unit: seconds."""
    failed: int = 0
    behind: list[float] = field(default_factory=list)
    """How long after its due moment a request was sent though a connection was free. Unit: seconds."""

    def answered(self, status: int, seconds: float) -> None:
        if status == 200:
            self.latencies.append(seconds)
        else:
            self.failed += 1


class Requests:
    """The bytes of one request after the other, each with an id of its own."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._number = int(plan["first"])
        path, column = plan["path"], plan["event_id"]
        if plan["contents"] is None:
            self._templates = None
            self._same = get(path)
        else:
            self._templates = cycle([Template(path, content, event_id=column) for content in plan["contents"]])

    def __call__(self) -> bytes:
        if self._templates is None:
            return self._same
        self._number += 1
        return next(self._templates).request(self._number)


def closed(connections: list[Connection], requests: Requests, seconds: float) -> Seen:
    """As fast as the answers come."""
    seen, by_number = Seen(), {one.fileno(): one for one in connections}
    numbers = list(by_number)
    for one in connections:
        one.due = perf_counter()
        one.send(requests())
    ends = perf_counter() + seconds
    while (now := perf_counter()) < ends:
        for number in select.select(numbers, [], [], ends - now)[0]:
            one = by_number[number]
            response = one.receive()
            if response is not None:
                now = perf_counter()
                seen.answered(response.status, now - one.due)
                one.due = now
                one.send(requests())
    return seen


def opened(connections: list[Connection], requests: Requests, seconds: float, rate: float) -> Seen:
    """One request every 1/rate seconds, and then the answers that are still due."""
    seen, by_number = Seen(), {one.fileno(): one for one in connections}
    free, waiting, sent, total = deque(connections), deque[float](), 0, round(seconds * rate)
    busy: list[int] = []
    began = perf_counter()
    while sent < total or busy or waiting:
        now = perf_counter()
        while sent < total and began + sent / rate <= now:
            waiting.append(began + sent / rate)
            sent += 1
            if free and len(waiting) == 1:
                seen.behind.append(now - waiting[0])
        while waiting and free:
            one = free.popleft()
            one.due = waiting.popleft()
            one.send(requests())
            busy.append(one.fileno())
        if now > began + seconds + PATIENCE_SECONDS:
            seen.failed += len(busy) + len(waiting)
            break
        pause = began + sent / rate - perf_counter() if sent < total else 0.1
        for number in select.select(busy, [], [], max(0.0, pause))[0]:
            one = by_number[number]
            response = one.receive()
            if response is not None:
                seen.answered(response.status, perf_counter() - one.due)
                busy.remove(number)
                free.append(one)
    return seen


def measured(plan: dict[str, Any]) -> dict[str, Any]:
    """One measurement by its plan: port, path, contents, event_id, first, connections, seconds, rate (None: closed)."""
    requests = Requests(plan)
    connections = [Connection(plan["port"]) for _ in range(plan["connections"])]
    began, worked = perf_counter(), process_time()
    if plan["rate"] is None:
        seen = closed(connections, requests, plan["seconds"])
    else:
        seen = opened(connections, requests, plan["seconds"], plan["rate"])
    took, worked = perf_counter() - began, process_time() - worked
    for one in connections:
        one.close()
    return {
        "rate": len(seen.latencies) / took,
        "answered": len(seen.latencies),
        "failed": seen.failed,
        "p50_ms": quantile_ms(seen.latencies, 0.50),
        "p99_ms": quantile_ms(seen.latencies, 0.99),
        "max_ms": quantile_ms(seen.latencies, 1.0),
        "behind_p99_ms": quantile_ms(seen.behind, 0.99),
        "generator_share": worked / took,
    }


def quantile_ms(seconds: list[float], share: float) -> float:
    """The least of the values that so many do not exceed; NaN without any."""
    if not seconds:
        return float("nan")
    ordered = sorted(seconds)
    return 1000.0 * ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


if __name__ == "__main__":
    file = Path(sys.argv[1])
    # Nobody who could ask: nobody is loaded any more.
    while sys.stdin.readline():
        asked = json.loads(file.read_text(encoding="utf-8"))
        say(**measured(asked) if asked else {})
        if not asked:
            break
