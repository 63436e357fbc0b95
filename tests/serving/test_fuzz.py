"""Whatever is sent, a server answers as its OpenAPI says, and never with an error of its own."""

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from served import World

from selfheal_assets.core.serving_spec import ServingSpec

WORLD = World(token="token")
SCHEMA = schemathesis.openapi.from_asgi(
    "/openapi.json", WORLD.app(), config=SchemathesisConfig.from_dict({"generation": {"allow-x00": True}})
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@SCHEMA.parametrize()
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_declared(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=CHECKS, headers={"Authorization": "Bearer token"})


def test_the_schema_declares_the_limits() -> None:
    row = SCHEMA.raw_schema["components"]["schemas"]["Row"]
    assert row["additionalProperties"] is False
    assert row["required"] == ["account_id", "amount", "channel"]
    assert row["properties"]["account_id"] == {
        "type": "string",
        "minLength": 1,
        "maxLength": ServingSpec().max_text,
        "title": "Account Id",
    }
    assert [kind["type"] for kind in row["properties"]["amount"]["anyOf"]] == ["number", "null"]
    assert row["properties"]["when"]["anyOf"][0]["format"] == "date-time"
    rows = SCHEMA.raw_schema["components"]["schemas"]["PredictRequest"]["properties"]["rows"]
    assert (rows["minItems"], rows["maxItems"]) == (1, ServingSpec().max_rows)
