"""Turn what is wrong with a request into an answer that names the field. Never echoes a long value."""

from typing import Any

import orjson
from fastapi import Response
from fastapi.exceptions import HTTPException
from pydantic import ValidationError

from selfheal_assets.serving.schemas import Refusal

MAX_PROBLEMS = 20
MAX_SHOWN = 80
"""Characters of a key or a value of the request that are shown."""
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "The body is not JSON."},
    408: {"model": Refusal, "description": "The body did not arrive in time."},
    409: {"model": Refusal, "description": "An event id was used before, for another row."},
    413: {"model": Refusal, "description": "The body is too large."},
    415: {"model": Refusal, "description": "The body is not declared as JSON."},
    422: {"model": Refusal, "description": "A field breaks a rule."},
    429: {"model": Refusal, "description": "Too many requests are waiting; see Retry-After."},
    500: {"model": Refusal, "description": "The model failed."},
    503: {"model": Refusal, "description": "No model stands ready."},
    504: {"model": Refusal, "description": "The answer took too long."},
}


def refusal(
    status: int, error: str, problems: list[dict[str, str]] | None = None, headers: dict[str, str] | None = None
) -> HTTPException:
    """To raise: `problems` are {field, message}."""
    return HTTPException(status, {"error": error, "problems": problems or []}, headers)


def refused(error: HTTPException) -> Response:
    """The answer to a refused request."""
    content = error.detail if isinstance(error.detail, dict) else {"error": error.detail, "problems": []}
    return Response(orjson.dumps(content), error.status_code, dict(error.headers or {}), "application/json")


def shortened(value: Any) -> str:
    """A value of the request, short enough to be shown."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def unfit(error: ValidationError) -> HTTPException:
    """422 with the fields that are wrong, 400 when the body is no JSON at all."""
    found = error.errors(include_url=False, include_context=False)
    if found[0]["type"] == "json_invalid":
        return refusal(400, f"The body must be JSON; {shortened(found[0]['msg'])}. Correct it.")
    problems = [
        {
            "field": ".".join(shortened(part) if isinstance(part, str) else str(part) for part in one["loc"]) or "body",
            "message": one["msg"].removeprefix("Value error, ") + _received(one["type"], one["input"]),
        }
        for one in found[:MAX_PROBLEMS]
    ]
    more = f" The first {MAX_PROBLEMS} of {len(found)} are listed." if len(found) > MAX_PROBLEMS else ""
    return refusal(422, f"Every field must be as /openapi.json says. Correct the fields listed.{more}", problems)


def _received(kind: str, value: Any) -> str:
    return "" if kind in ("missing", "extra_forbidden") else f"; received {shortened(value)}"
