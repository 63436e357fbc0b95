"""Ask a server at a fixed rate whatever befalls it: a port and a time in, one line a request out. Never asks twice.

A line has, by tabs: event id, when it was due, when it ended (seconds since 1970), what became of it (`ok`, a status,
or an error's name), level, version, score, and whether the log took it.
"""

import json
import select
import sys
from collections import deque
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from time import time
from typing import Any, TextIO

import orjson
from fresh_process import say, wait_for_turn
from serving_wire import Connection, Response, Template, event_id

PATIENCE_SECONDS = 10.0
"""For one answer: the server itself gives up after 5 s."""
QUEUE_SECONDS = 1.0
"""How long a request waits while nobody listens. While all connections are busy it waits as long as for an answer."""
AGAIN_SECONDS = 0.1
"""Between two tries to connect."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked."""

    port: int
    rate: float
    seconds: float
    connections: int
    rows: list[dict[str, Any]]
    event_id: str


class Asking:
    """Requests of one plan, under way and waiting."""

    def __init__(self, plan: Plan, out: TextIO) -> None:
        self._plan, self._out = plan, out
        self._templates = cycle([Template("/predict", {"rows": [row]}, event_id=plan.event_id) for row in plan.rows])
        self._free: deque[Connection] = deque()
        self._busy: dict[int, Connection] = {}
        self._waiting: deque[tuple[int, float]] = deque()
        self._connect_at, self._refused = 0.0, False
        self.sent = self.answered = 0

    def run(self) -> None:
        """Until the time is over and every request has ended."""
        began, total = time(), round(self._plan.seconds * self._plan.rate)
        while self.sent < total or self._busy or self._waiting:
            now = time()
            while self.sent < total and began + self.sent / self._plan.rate <= now:
                self._waiting.append((self.sent, began + self.sent / self._plan.rate))
                self.sent += 1
            self._connect(now)
            self._send()
            self._give_up(now)
            due = began + self.sent / self._plan.rate - time() if self.sent < total else 0.05
            self._receive(min(max(0.0, due), 0.05))
        for one in self._free:
            one.close()

    def _connect(self, now: float) -> None:
        while self._waiting and not self._free and len(self._busy) < self._plan.connections and now >= self._connect_at:
            try:
                self._free.append(Connection(self._plan.port))
                self._refused = False
            except OSError:
                self._connect_at, self._refused = now + AGAIN_SECONDS, True
            if len(self._free) >= len(self._waiting):
                break

    def _send(self) -> None:
        while self._waiting and self._free:
            one = self._free.popleft()
            one.number, one.due = self._waiting.popleft()
            try:
                one.send(next(self._templates).request(one.number))
                self._busy[one.fileno()] = one
            except OSError as error:
                self._failed(one, error)

    def _receive(self, seconds: float) -> None:
        idle = {one.fileno(): one for one in self._free}
        for number in select.select([*self._busy, *idle], [], [], seconds)[0]:
            if number in idle:
                # Only the end of a connection comes unasked: the next request shall not be lost to it.
                self._free.remove(idle[number])
                idle[number].close()
                continue
            one = self._busy[number]
            try:
                response = one.receive()
            except OSError as error:
                del self._busy[number]
                self._failed(one, error)
                continue
            if response is not None:
                del self._busy[number]
                self._free.append(one)
                self._ended(one, response)

    def _give_up(self, now: float) -> None:
        patience = QUEUE_SECONDS if self._refused else PATIENCE_SECONDS
        while self._waiting and now - self._waiting[0][1] > patience:
            number, due = self._waiting.popleft()
            self._tell(number, due, "NoConnection")
        for number in [n for n, one in self._busy.items() if now - one.due > PATIENCE_SECONDS]:
            self._failed(self._busy.pop(number), TimeoutError())

    def _failed(self, one: Connection, error: OSError) -> None:
        one.close()
        self._tell(one.number, one.due, type(error).__name__)

    def _ended(self, one: Connection, response: Response) -> None:
        if response.status != 200:
            self._tell(one.number, one.due, str(response.status))
            return
        (answer,) = orjson.loads(response.body)["answers"]
        self.answered += 1
        lost = "lost" if b"x-selfheal-log: lost" in response.head.lower() else "kept"
        self._tell(one.number, one.due, "ok", answer["level"], answer["version"], repr(answer["score"]), lost)

    def _tell(self, number: int, due: float, *said: str) -> None:
        print(event_id(number), f"{due:.6f}", f"{time():.6f}", *said, sep="\t", file=self._out)


if __name__ == "__main__":
    wait_for_turn()
    asked, place = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2])
    with place.open("w", encoding="ascii") as lines:
        asking = Asking(Plan(**asked), lines)
        asking.run()
    say(sent=asking.sent, answered=asking.answered)
