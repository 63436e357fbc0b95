"""Ask a model server from Python: rows in, one answer a row out, within a deadline. Never answers an event twice."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx
import orjson

from selfheal_assets.core.errors import DeadlineError, OverloadedError, RefusedRequestError, ServingError

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
PASSING = (429, 500, 502, 503, 504)
"""Statuses after which the same request may succeed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the server said of one row."""

    event_id: Any
    score: float
    """Probability of the label 1."""
    version: str
    level: str
    """Where the features came from: live, cached or default."""


@dataclass
class Client:
    """Predictions of one server. Of one thread; close it, or use it as a context."""

    url: str
    deadline_s: float = 5.0
    """For a call of `predict`, all of its tries included."""
    retries: int = 5
    event_id: str = "event_id"
    """The model's column for it."""
    transport: httpx.BaseTransport | None = None
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    _http: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.deadline_s <= 0 or self.retries < 0:
            raise ServingError(
                "deadline_s must be positive and retries not negative; "
                f"received {self.deadline_s} and {self.retries}. Correct them."
            )
        try:
            self._http = httpx.Client(base_url=self.url, transport=self.transport)
        except (httpx.InvalidURL, TypeError) as error:
            raise ServingError(f"url must be that of a model server; received {self.url!r}. Correct it.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """One answer a row, in order. A row without an event id is given one, the same in every try.

        Raises RefusedRequestError for rows that break a rule, OverloadedError or DeadlineError when no answer came in
        time, ServingError for an answer that is none.
        """
        named = [row if row.get(self.event_id) is not None else {**row, self.event_id: str(uuid4())} for row in rows]
        response = self._asked(_encoded(named))
        try:
            answers = [Answer(**{name: one[name] for name in Answer.__slots__}) for one in response.json()["answers"]]
        except (ValueError, KeyError, TypeError) as error:
            raise _no_answer(response) from error
        if len(answers) != len(named):
            raise _no_answer(response)
        return answers

    def _asked(self, body: bytes) -> httpx.Response:
        ends = time.monotonic() + self.deadline_s
        status, last = 0, ""
        for tried in range(self.retries + 1):
            response, last = self._tried(body, ends - time.monotonic())
            status = response.status_code if response is not None else 0
            if response is not None and status == 200:
                return response
            if response is not None and status not in PASSING:
                raise _refused(response)
            pause = random.uniform(0.5, 1.0) * min(FIRST_PAUSE_S * 2**tried, LONGEST_PAUSE_S)
            pause = max(pause, _retry_after(response))
            if tried == self.retries or time.monotonic() + pause >= ends:
                break
            self.sleep(pause)
        raise self._given_up(status, last)

    def _tried(self, body: bytes, seconds: float) -> tuple[httpx.Response | None, str]:
        """The response, None for none, and what was said. The time bounds each step; the deadline, all tries."""
        headers = {"Content-Type": "application/json"}
        try:
            response = self._http.post("/predict", content=body, headers=headers, timeout=max(seconds, 0.001))
        except httpx.TransportError as error:
            return None, f"{type(error).__name__}: {error}"
        return response, response.text[:200]

    def _given_up(self, status: int, last: str) -> ServingError:
        kind = OverloadedError if status == 429 else DeadlineError
        return kind(
            f"{self.url} must answer within {self.deadline_s:g} s and {self.retries + 1} tries; received at last "
            f"{status or 'no answer'}: {last}. Try again later, or allow more."
        )


def _encoded(rows: Sequence[Mapping[str, Any]]) -> bytes:
    try:
        return orjson.dumps({"rows": rows}, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain)
    except orjson.JSONEncodeError as error:
        raise RefusedRequestError(
            f"Rows must be of plain values; received one that is not: {error}. Correct it."
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):  # a pandas Timestamp, which orjson does not know
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _retry_after(response: httpx.Response | None) -> float:
    """Seconds; 0 when it is not said, or said as a date."""
    said = response.headers.get("retry-after", "") if response is not None else ""
    return float(said) if said.isascii() and said.isdigit() else 0.0


def _refused(response: httpx.Response) -> RefusedRequestError:
    return RefusedRequestError(
        f"A request must be as the server's /openapi.json says; received {response.status_code}: "
        f"{response.text[:1000]}. Correct the rows or the address."
    )


def _no_answer(response: httpx.Response) -> ServingError:
    return ServingError(
        f"A model server must answer every row; received {response.text[:200]!r}. Check that the address is one."
    )
