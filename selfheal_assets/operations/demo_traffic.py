"""Make live payments and ask the model server about them: a world in, answers out. Never asks about one twice."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from selfheal_assets.core.errors import SelfhealError
from selfheal_assets.serving.client import Answer, Client
from selfheal_assets.simulator.payments import PaymentsWorld, Regime

CLIENTS = 4
REQUESTS_A_SECOND = 12.0
"""Of all clients together."""
ROWS_A_REQUEST = 8
DEADLINE_S = 20.0
"""Of a request, all of its tries included: longer than a server needs to start again."""
TRIES = 60
STOPPED_ABOVE = 0.12
"""The usual share of fraud: a payment with a higher score would be stopped."""
ROWS_DRAWN = 800
FIRST_INDEX = 1_000_000
"""Of the live payments, far from the batches': their ids are others."""
LABEL, EVENT_ID, EVENT_TIME = "is_fraud", "payment_id", "event_timestamp"
END_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One request that was answered."""

    sent: float
    received: float
    """Seconds since 1970."""
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """One request that got no answer within its deadline, or was refused."""

    sent: float
    given_up: float
    reason: str


class _Tries(httpx.HTTPTransport):
    """Counts the tries that came to nothing."""

    failed = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response = super().handle_request(request)
        except httpx.TransportError:
            self.failed += 1
            raise
        self.failed += response.status_code != httpx.codes.OK
        return response


@dataclass
class LivePayments:
    """Payments of the present, a few at a time. For many threads."""

    world: PaymentsWorld
    regime: Regime = Regime.HEALTHY
    _drawn: list[dict[str, Any]] = field(default_factory=list)
    _draws: int = 0
    _drawing: threading.Lock = field(default_factory=threading.Lock)

    def take(self, rows: int) -> list[dict[str, Any]]:
        """With their labels, which only the future knows."""
        with self._drawing:
            if len(self._drawn) < rows:
                self._draw()
            taken, self._drawn = self._drawn[:rows], self._drawn[rows:]
            return taken

    def becomes(self, regime: Regime) -> None:
        """From the next payment on the world is in that state."""
        with self._drawing:
            self.regime = regime
            self._drawn = []

    def _draw(self) -> None:
        frame = self.world.batch(FIRST_INDEX + self._draws, ROWS_DRAWN, self.regime, datetime.now(UTC))
        self._draws += 1
        frame = frame.drop(columns=EVENT_TIME).astype(object)
        records = frame.where(frame.notna(), None).to_dict("records")
        self._drawn = [{str(name): value for name, value in row.items()} for row in records]


class LiveTraffic:
    """Clients that ask from `start` to `stop`, as many requests a second as are declared."""

    def __init__(self, url: str, payments: LivePayments) -> None:
        self.url, self.payments = url, payments
        self.answered: list[Answered] = []
        self.failed: list[Failed] = []
        self._tries = [_Tries() for _ in range(CLIENTS)]
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(tries,), daemon=True) for tries in self._tries]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """What was sent is answered, or given up. Twice changes nothing."""
        self._ending.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(END_S)

    @property
    def tried_again(self) -> int:
        """Tries that came to nothing, of requests that were answered or not."""
        return sum(tries.failed for tries in self._tries)

    def _ask(self, tries: _Tries) -> None:
        pause, due = CLIENTS / REQUESTS_A_SECOND, time.monotonic()
        with (
            Client(self.url, DEADLINE_S, TRIES, EVENT_ID, transport=tries) as client,
            httpx.Client(trust_env=False) as reporter,
        ):
            while not self._ending.is_set():
                self._one(client, reporter)
                due = max(due + pause, time.monotonic())
                self._ending.wait(due - time.monotonic())

    def _one(self, client: Client, reporter: httpx.Client) -> None:
        payments = self.payments.take(ROWS_A_REQUEST)
        asked = [{name: value for name, value in row.items() if name != LABEL} for row in payments]
        sent = time.time()
        try:
            answers = tuple(client.predict(asked))
        except SelfhealError as error:
            self.failed.append(Failed(sent=sent, given_up=time.time(), reason=str(error)))
            return
        self.answered.append(Answered(sent=sent, received=time.time(), answers=answers))
        self._report(reporter, payments, answers)

    def _report(self, reporter: httpx.Client, payments: list[dict[str, Any]], answers: tuple[Answer, ...]) -> None:
        """The business metric: of each fraud, whether the answer would have stopped it."""
        values: list[Mapping[str, Any]] = [
            {"version": answer.version, "value": float(answer.score > STOPPED_ABOVE)}
            for payment, answer in zip(payments, answers, strict=True)
            if payment[LABEL] == 1
        ]
        if values:
            try:
                reporter.post(f"{self.url}/business", json=values)
            except httpx.TransportError:
                return  # A report that is lost is a value less, nothing more.
