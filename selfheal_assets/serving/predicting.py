"""Take a request to predict through: admission, bounded body, typed rows, answer in time. Never holds a request up."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TypeVar

import orjson
from fastapi import Request, Response
from fastapi.exceptions import HTTPException
from pydantic import BaseModel, ValidationError

from selfheal_assets.core.errors import NotReadyError
from selfheal_assets.serving.admission import Admission
from selfheal_assets.serving.answering import Answered, Answering, Row
from selfheal_assets.serving.limits import read_body
from selfheal_assets.serving.metrics import ServerMetrics
from selfheal_assets.serving.parts import Parts
from selfheal_assets.serving.refusals import refusal, refused, unfit

THREADS = 8
"""At most so many requests wait for the feature store at a time, in each process."""
REQUEST_SECONDS = 5.0
"""Longer than any answer takes: a body that has not arrived, or an answer that has not been found, is given up."""
DIRECT_ROWS = 20
"""So few rows are scored faster than they are handed to a thread and back, when no store is asked."""
Result = TypeVar("Result")
NOT_KEPT = {"X-Selfheal-Log": "lost"}
_log = logging.getLogger(__name__)


class Predicting:
    """The handler of `POST /predict`, of one event loop."""

    def __init__(self, parts: Parts, metrics: ServerMetrics, schema: type[BaseModel]) -> None:
        self._model, self._serving, self._schema = parts.spec.name, parts.spec.serving, schema
        self._asks_store = parts.asks_store
        self._metrics = metrics
        self._answering = Answering(parts, metrics)
        self.admission = Admission(self._serving.max_waiting)
        self.open()

    async def __call__(self, request: Request) -> Response:
        """One answer, whatever comes; every request is counted once."""
        began = perf_counter()
        outcome, response = await self._admitted(request, began)
        self._metrics.request(outcome, perf_counter() - began)
        return response

    def open(self) -> None:
        """Once more after `close`, when an application is started again."""
        self._threads = ThreadPoolExecutor(THREADS, "predict")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _admitted(self, request: Request, began: float) -> tuple[str, Response]:
        if not self.admission.enter():
            return "rejected", refused(_overloaded(self._serving.max_waiting))
        try:
            # Whoever has arrived meanwhile is counted before anyone is at work.
            await asyncio.sleep(0)
            return "ok", await self._predicted(request, began)
        except NotReadyError as error:
            return "error", refused(refusal(503, str(error), headers={"Retry-After": "1"}))
        except HTTPException as error:
            return "timeout" if error.status_code == 504 else "invalid", refused(error)
        except Exception:
            _log.exception("a request could not be answered")
            return "error", refused(refusal(500, "The model must score every valid row; it failed. See the log."))
        finally:
            self.admission.leave()

    async def _predicted(self, request: Request, began: float) -> Response:
        body = await _within(read_body(request, self._serving.max_body_kb), _late_body)
        try:
            rows: list[Row] = self._schema.model_validate_json(body).rows  # type: ignore[attr-defined]
        except ValidationError as error:
            raise unfit(error) from None
        if not self._asks_store and len(rows) <= DIRECT_ROWS:
            return self._respond(rows, began)
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._respond, rows, began)
        return await _within(asyncio.shield(work), _late_answer, lambda: self.admission.abandon(work))

    def _respond(self, rows: list[Row], began: float) -> Response:
        answered: Answered = self._answering.answer(rows, began)
        content = orjson.dumps({"model": self._model, "answers": answered.answers})
        return Response(content, headers=None if answered.kept else NOT_KEPT, media_type="application/json")


async def _within(
    work: Awaitable[Result], late: Callable[[], HTTPException], give_up: Callable[[], None] = lambda: None
) -> Result:
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            return await work
    except TimeoutError:
        give_up()
        raise late() from None


def _late_body() -> HTTPException:
    error = f"A body must arrive within {REQUEST_SECONDS:g} s. Send it faster, or fewer rows a request."
    return refusal(408, error, headers={"Connection": "close"})


def _late_answer() -> HTTPException:
    return refusal(504, f"An answer must be found within {REQUEST_SECONDS:g} s; this one was not. Try again.")


def _overloaded(limit: int) -> HTTPException:
    error = f"At most {limit} requests may wait. Try again after Retry-After."
    return refusal(429, error, headers={"Retry-After": "1"})
