"""Answer people and monitors: health, readiness, metrics, the model, business values. Never scores a row."""

from typing import Annotated, Any

from annotated_types import Interval, Len
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Strict, TypeAdapter, ValidationError

from selfheal_assets.serving.limits import read_body
from selfheal_assets.serving.metrics import ServerMetrics
from selfheal_assets.serving.parts import Parts
from selfheal_assets.serving.probing import ProbeAnswer, Probing
from selfheal_assets.serving.refusals import DOCUMENTED, refusal, unfit
from selfheal_assets.serving.state import ModelState, Readiness, model_state, readiness


class Health(BaseModel):
    status: str


class BusinessValue(BaseModel):
    """What came of an answer of a version, 0 to 1: more is better."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[str, Strict(), Len(1, 64)]
    value: Annotated[float, Strict(), Interval(ge=0.0, le=1.0)]


class Accepted(BaseModel):
    accepted: int


def pages_router(parts: Parts, metrics: ServerMetrics) -> APIRouter:
    """Everything but predictions and admin calls."""
    router = APIRouter()

    @router.get("/health")
    async def health() -> Health:
        """The process is alive."""
        return Health(status="alive")

    @router.get("/ready", responses={503: {"model": Readiness}})
    async def ready(response: Response) -> Readiness:
        """A model stands ready, and every answer is being kept."""
        state = readiness(parts)
        response.status_code = 200 if state.ready else 503
        return state

    probing = Probing(parts)

    @router.post("/probe", responses={503: {"model": ProbeAnswer}})
    def probe(response: Response) -> ProbeAnswer:
        """Rows whose scores are known, and features of a canned entity; neither logged nor counted."""
        answer = probing()
        response.status_code = 200 if answer.ok else 503
        return answer

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def exposition() -> Response:
        """In Prometheus' text format."""
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    @router.get("/model", responses={503: DOCUMENTED[503]})
    async def model() -> ModelState:
        """Who answers at present."""
        state = model_state(parts)
        if state is None:
            raise refusal(503, "A model must stand ready before it is shown; none does yet. Try again in a while.")
        return state

    _add_business(router, parts, metrics)
    return router


def _add_business(router: APIRouter, parts: Parts, metrics: ServerMetrics) -> None:
    values = TypeAdapter(Annotated[list[BusinessValue], Len(1, parts.spec.serving.max_rows)])
    # Written out: FastAPI knows the models of signatures only, and would leave a reference that leads nowhere.
    schema = {**values.json_schema(), "items": BusinessValue.model_json_schema()}
    del schema["$defs"]
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    known = set[str]()
    documented: dict[int | str, dict[str, Any]] = {code: DOCUMENTED[code] for code in (400, 413, 415, 422)}

    @router.post("/business", responses=documented, openapi_extra={"requestBody": body})
    async def business(request: Request) -> Accepted:
        """Count the declared business metric of answers, by the version that gave them."""
        try:
            posted = values.validate_json(await read_body(request, parts.spec.serving.max_body_kb))
        except ValidationError as error:
            raise unfit(error) from None
        line = parts.lines.line
        known.update(line.models if line is not None else ())
        strange = [place for place, one in enumerate(posted) if one.version not in known]
        if strange:
            # Each version is a time series: one that never stood here must not make one.
            problem = {"field": f"{strange[0]}.version", "message": "is not a version that has answered here"}
            raise refusal(422, "A business value must be of a version that answered. Correct the version.", [problem])
        for one in posted:
            metrics.business(one.version, one.value)
        return Accepted(accepted=len(posted))
