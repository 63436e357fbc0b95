"""Check an object against its schema: Kubernetes' own published ones, strictly, and for three operators' kinds ours.

The schemas of HTTPRoute, ServiceMonitor, PrometheusRule and ExternalSecret are written by hand from their references:
they know the fields that the manifests use, and refuse every other.
"""

import re
from functools import cache
from typing import Any

import jsonschema
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

SUPPORTED = ("1.33", "1.34", "1.35", "1.36", "1.37")
"""The versions of Kubernetes that the manifests are checked for."""
ANY = {"type": "object"}
TEXT, NUMBER = {"type": "string", "minLength": 1}, {"type": "integer"}
NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"}
DURATION = {"type": "string", "pattern": r"^(\d+(ms|s|m|h))+$"}


def shape(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """An object with these fields and no other."""
    properties = {**required, **optional}
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


def some(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


def custom(spec: dict[str, Any]) -> dict[str, Any]:
    head = {"apiVersion": TEXT, "kind": TEXT, "metadata": ANY}
    return shape({**head, "spec": spec})


MATCH = shape(
    {"path": shape({"type": {"enum": ["Exact", "PathPrefix"]}, "value": {"type": "string", "pattern": "^/"}})},
    method={"enum": ["GET", "POST", "PUT", "DELETE"]},
)
BACKEND = shape({"name": NAME, "port": NUMBER, "weight": {"type": "integer", "minimum": 0, "maximum": 1_000_000}})
ROUTE = custom(
    shape(
        {
            "parentRefs": some(shape({"name": NAME}, namespace=NAME, sectionName=NAME)),
            "rules": some(
                shape({"matches": some(MATCH), "backendRefs": some(BACKEND)}, timeouts=shape({"request": DURATION}))
            ),
        },
        hostnames=some(NAME),
    )
)
MONITOR = custom(
    shape(
        {
            "selector": shape({"matchLabels": ANY}),
            "endpoints": some(shape({"port": NAME, "path": TEXT}, interval=DURATION, scrapeTimeout=DURATION)),
        },
        targetLabels=some(TEXT),
    )
)
RECORDED = shape({"record": {"type": "string", "pattern": "^[a-zA-Z_:][a-zA-Z0-9_:]*$"}, "expr": TEXT})
ALERT = shape({"alert": TEXT, "expr": TEXT, "for": DURATION, "labels": ANY, "annotations": ANY})
RULES = custom(shape({"groups": some(shape({"name": TEXT, "rules": some({"oneOf": [RECORDED, ALERT]})}))}))
SECRET = custom(
    shape(
        {
            "refreshInterval": DURATION,
            "secretStoreRef": shape({"kind": {"enum": ["SecretStore", "ClusterSecretStore"]}, "name": NAME}),
            "target": shape({"name": NAME, "creationPolicy": {"enum": ["Owner", "Merge", "Orphan", "None"]}}),
            "data": some(shape({"secretKey": TEXT, "remoteRef": shape({"key": TEXT, "property": TEXT})})),
        }
    )
)
CUSTOM = {
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): ROUTE,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): MONITOR,
    ("monitoring.coreos.com/v1", "PrometheusRule"): RULES,
    ("external-secrets.io/v1", "ExternalSecret"): SECRET,
}


def problems(document: dict[str, Any], version: str) -> list[str]:
    """What is wrong with it in that version of Kubernetes; empty when nothing is."""
    found = _validator(document["apiVersion"], document["kind"], version).iter_errors(document)
    return [f"{'.'.join(map(str, error.absolute_path)) or 'it'}: {error.message[:200]}" for error in found]


@cache
def _validator(api_version: str, kind: str, version: str) -> Any:
    if (api_version, kind) in CUSTOM:
        return jsonschema.Draft202012Validator(CUSTOM[(api_version, kind)])
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    folder = f"kubernetes-json-schema/v{version}.0-local-strict"
    schema = schema_contents(f"{folder}/{kind.lower()}-{group}.json", version)
    return jsonschema.Draft202012Validator(schema, registry=Resource.from_contents(schema) @ _definitions(version))


@cache
def _definitions(version: str) -> Any:
    text = schema_contents(f"kubernetes-json-schema/v{version}.0-local-strict/_definitions.json", version)
    return Resource.from_contents(text) @ Registry()
