"""Put the model server's application together: parts in, a FastAPI application out. Never opens a store."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import HTTPException
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException

from selfheal_assets.serving.admin import admin_router
from selfheal_assets.serving.life import Life
from selfheal_assets.serving.metrics import ServerMetrics
from selfheal_assets.serving.pages import pages_router
from selfheal_assets.serving.parts import Parts
from selfheal_assets.serving.predicting import Predicting
from selfheal_assets.serving.refusals import DOCUMENTED, refusal, refused
from selfheal_assets.serving.schemas import build_schemas

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def create_app(parts: Parts) -> FastAPI:
    """The application of one server process; its lifespan starts and ends the parts."""
    schemas = build_schemas(parts.spec, parts.types)
    metrics = ServerMetrics(parts.spec.name, parts.metrics_folder)
    predicting = Predicting(parts, metrics, schemas.request)
    life = Life(parts, metrics, predicting)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with life.lived():
            yield

    app = FastAPI(
        title=f"{parts.spec.name} model server",
        description=parts.spec.description,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    _add_predict(app, predicting, schemas.request, schemas.answer)
    app.include_router(pages_router(parts, metrics))
    if parts.token is not None:
        app.include_router(admin_router(parts, parts.token))
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(Exception, _failed)
    return app


def _add_predict(app: FastAPI, predicting: Predicting, request: type[BaseModel], answer: type[BaseModel]) -> None:
    class PredictRoute(APIRoute):
        """Documented from the signature; parsed once, by pydantic's own JSON parser, from a bounded body."""

        def get_route_handler(self) -> Handler:
            return predicting.__call__

    async def predict(body: request) -> answer:  # type: ignore[valid-type]
        """Score rows; the answers stand in the order of the rows."""
        raise NotImplementedError("the route has a handler of its own")

    app.router.add_api_route(
        "/predict", predict, methods=["POST"], responses=DOCUMENTED, route_class_override=PredictRoute
    )


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    return refused(HTTPException(error.status_code, error.detail, error.headers))


async def _failed(_: Request, __: Exception) -> Response:
    """No trace of the error: it stands in the log."""
    return refused(refusal(500, "The server must answer every request; it failed. See its log."))
