"""Turn a model's columns into typed requests and answers: a ModelSpec in, pydantic models out. Never sees a request."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, NotRequired, cast

from annotated_types import Interval, Len
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, create_model, with_config
from typing_extensions import TypedDict

from selfheal_assets.core.errors import SpecError
from selfheal_assets.core.model_spec import ModelSpec
from selfheal_assets.ports.serving import FeatureLevel
from selfheal_assets.serving.parts import RowTypes

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
KINDS = {
    "string": "string",
    "float": "float",
    "float32": "float",
    "float64": "float",
    "integer": "integer",
    "int32": "integer",
    "int64": "integer",
    "boolean": "boolean",
    "bool": "boolean",
    "timestamp": "timestamp",
    "unixtimestamp": "timestamp",
    "uuid": "string",
}
"""Types of checks files and of Feast, in lower case, by what a request's value must be."""
OLDEST, NEWEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Schemas:
    """What a request must be, and what is answered."""

    request: type[BaseModel]
    """Has `rows`: a list of dictionaries."""
    answer: type[BaseModel]


class Problem(BaseModel):
    """One thing that is wrong with a request."""

    field: str
    """Where: `rows.0.amount`."""
    message: str


class Refusal(BaseModel):
    """Why a request was not answered."""

    error: str
    problems: list[Problem] = []


def _utc(value: datetime) -> datetime:
    """Naive values are read as UTC; times that no event can have are refused."""
    try:
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        moment = None
    if moment is None or not OLDEST <= moment < NEWEST:
        raise ValueError(f"must lie between {OLDEST:%Y} and {NEWEST:%Y}; correct the time")
    return moment


Moment = Annotated[datetime, Strict(), AfterValidator(_utc)]


def value_type(kind: str, max_text: int, *, filled: bool = False) -> Any:
    """The type of one value. Raises SpecError for a type that a request cannot have."""
    types: dict[str, Any] = {
        "string": Annotated[str, Strict(), Len(1 if filled else 0, max_text)],
        "float": Annotated[float, Strict()],
        "integer": Annotated[int, Strict(), Interval(ge=-(2**63), le=2**63 - 1)],
        "boolean": Annotated[bool, Strict()],
        "timestamp": Moment,
    }
    known = KINDS.get(kind.lower())
    if known is None:
        raise SpecError(
            f"A column of a request must be of one of the types {sorted(set(KINDS.values()))}; received {kind!r}. "
            "Correct the column's type in feature_repo or the checks file."
        )
    return types[known]


def row_schema(spec: ModelSpec, types: RowTypes) -> Any:
    """One row as a typed dictionary, keyed by column: no column name collides with an attribute of a model."""
    limit = spec.serving.max_text
    identity: Any = Annotated[
        value_type(types.event_id, limit, filled=True),
        Field(description="Identifies the row; a repeated request with the same id gets the same answer."),
    ]
    time: Any = Annotated[Moment, Field(description="Time of the event, UTC; by default the present.")]
    fields: dict[str, Any] = {
        spec.data.event_id: NotRequired[identity] if types.event_id == "string" else identity,
        spec.data.event_timestamp: NotRequired[time],
    }
    for name, kind in types.entities.items():
        fields.setdefault(name, value_type(kind, limit, filled=True))
    for name, kind in types.request.items():
        fields.setdefault(name, value_type(kind, limit) | None)
    for name, kind in types.context.items():
        fields.setdefault(name, NotRequired[value_type(kind, limit) | None])
    return with_config(STRICT)(cast(Any, TypedDict)("Row", fields))


def build_schemas(spec: ModelSpec, types: RowTypes) -> Schemas:
    """The models of `POST /predict`."""
    row = row_schema(spec, types)
    rows: Any = Annotated[list[row], Len(1, spec.serving.max_rows)]  # type: ignore[valid-type]
    request = create_model(
        "PredictRequest", __config__=STRICT, rows=(rows, Field(description=f"Rows to score: {spec.description}."))
    )
    identity = int if types.event_id == "integer" else str
    answer = create_model(
        "Answer",
        event_id=(identity, ...),
        score=(Annotated[float, Interval(ge=0.0, le=1.0)], Field(description=spec.description)),
        version=(str, Field(description="Version of the model that answered.")),
        level=(FeatureLevel, Field(description="Where the features came from.")),
    )
    answers = create_model("PredictResponse", model=(str, ...), answers=(list[answer], ...))  # type: ignore[valid-type]
    return Schemas(request=request, answer=answers)


def row_types(
    spec: ModelSpec, entities: dict[str, str], on_demand: dict[str, str], declared: dict[str, str]
) -> RowTypes:
    """The columns of a row: entities and inputs of on-demand features as Feast says, the others as declared.

    `declared`: the types of the checks file. Feast knows no entity of a model that keeps no features.
    """
    entities = {name: entities.get(name) or declared.get(name, "string") for name in spec.data.entities}
    request = {name: "string" if name in spec.features.categorical else "float" for name in spec.features.request}
    taken = {*entities, *request, spec.data.event_id, spec.data.event_timestamp}
    inputs = {name: kind for name, kind in on_demand.items() if name not in taken}
    context = {name: declared.get(name, "string") for name in spec.serving.context if name not in {*taken, *inputs}}
    kind = "integer" if declared.get(spec.data.event_id) == "integer" else "string"
    return RowTypes(event_id=kind, entities=entities, request=request | inputs, context=context)
