"""An API server of the parts of Kubernetes that selfheal calls, by Kubernetes' own paths, rights and schemas.

It keeps objects, answers GET, LIST and PATCH (JSON merge patch) under the paths of the API reference, refuses what the
Roles of the manifests do not grant (403) and what was read too long ago (409), checks every object that a patch makes
against the published schema (422), counts generations, and writes down each call.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep
from typing import Any
from urllib.parse import parse_qs, urlsplit

from object_schemas import problems

Document = dict[str, Any]
PATHS = {
    r"/api/v1/namespaces/([^/]+)/(pods|configmaps)(?:/([^/]+))?": "",
    r"/apis/apps/v1/namespaces/([^/]+)/(deployments)(?:/([^/]+))?": "apps",
    r"/apis/gateway\.networking\.k8s\.io/v1/namespaces/([^/]+)/(httproutes)(?:/([^/]+))?": "gateway.networking.k8s.io",
}
PLURALS = {"Pod": "pods", "ConfigMap": "configmaps", "Deployment": "deployments", "HTTPRoute": "httproutes"}
MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Call:
    """One request that came in."""

    verb: str
    plural: str
    name: str
    body: Document | None


@dataclass
class FakeCluster:
    """A namespace; `roles` are the Role documents of whoever asks."""

    roles: Sequence[Document]
    namespace: str = "selfheal"
    version: str = "1.37"
    objects: dict[tuple[str, str], Document] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    before_patch: Callable[["FakeCluster", str], None] = lambda _cluster, _name: None
    """Called before a patch is applied: somebody else may be faster."""
    slow_seconds: float = 0.0
    url: str = ""
    _clock: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def put(self, document: Document) -> None:
        """As `kubectl apply` would, and as the controllers complete it."""
        with self._lock:
            self._clock += 1
            name, plural = document["metadata"]["name"], PLURALS[document["kind"]]
            old = self.objects.get((plural, name))
            made = deepcopy(document)
            generation = 1
            if old is not None:
                same = old.get("spec") == made.get("spec")
                generation = old["metadata"].get("generation", 1) + (not same)
            made["metadata"] = {
                "namespace": self.namespace,
                "creationTimestamp": "2026-03-01T11:00:00Z",
                **made["metadata"],
                "uid": f"uid-{name}",
                "resourceVersion": str(self._clock),
                "generation": generation,
            }
            self.objects[(plural, name)] = made

    def object(self, plural: str, name: str) -> Document:
        return self.objects[(plural, name)]

    def rolled_out(self, name: str, **status: int) -> None:
        """What the deployment controller says when it is done; or what it is told to say."""
        with self._lock:
            found = self.objects[("deployments", name)]
            wanted = found["spec"].get("replicas", 1)
            done = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), wanted)
            found["status"] = {**done, "observedGeneration": found["metadata"]["generation"], **status}

    def patches(self) -> list[Call]:
        return [call for call in self.calls if call.verb == "patch"]

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: Document | None) -> tuple[int, Any]:
        """Status and document."""
        sleep(self.slow_seconds)
        parts = urlsplit(target)
        matches = ((re.fullmatch(path, parts.path), group) for path, group in PATHS.items())
        place, group = next(((match, group) for match, group in matches if match), (None, ""))
        if place is None:
            return 404, _status(404, f"the server could not find the requested resource {parts.path}")
        namespace, plural, name = place[1], place[2], place[3] or ""
        verb = {"GET": "get" if name else "list", "PATCH": "patch"}.get(method, method.lower())
        with self._lock:
            self.calls.append(Call(verb, plural, name, body))
            if namespace != self.namespace or not self._may(verb, group, plural, name):
                return 403, _status(403, f"{verb} {plural} {name} is forbidden")
            if verb == "list":
                return 200, self._list(plural, parse_qs(parts.query).get("labelSelector", [""])[0])
            if (plural, name) not in self.objects:
                return 404, _status(404, f"{plural} {name!r} not found")
            if verb == "get":
                return 200, self.objects[(plural, name)]
        if headers.get("Content-Type") != MERGE:
            return 415, _status(415, "the body must be a JSON merge patch")
        self.before_patch(self, name)
        with self._lock:
            return self._patched(plural, name, body or {})

    def _may(self, verb: str, group: str, plural: str, name: str) -> bool:
        return any(
            group in rule["apiGroups"]
            and plural in rule["resources"]
            and verb in rule["verbs"]
            and (not rule.get("resourceNames") or name in rule["resourceNames"])
            for role in self.roles
            for rule in role["rules"]
        )

    def _list(self, plural: str, selector: str) -> Document:
        wanted = dict(pair.split("=", 1) for pair in selector.split(",") if pair)
        items = [
            document
            for (kind, _), document in self.objects.items()
            if kind == plural and wanted.items() <= document["metadata"].get("labels", {}).items()
        ]
        return {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": str(self._clock)}, "items": items}

    def _patched(self, plural: str, name: str, body: Document) -> tuple[int, Any]:
        old = self.objects[(plural, name)]
        expected = body.get("metadata", {}).get("resourceVersion")
        if expected is not None and expected != old["metadata"]["resourceVersion"]:
            return 409, _status(409, "the object has been modified; please apply your changes to the latest version")
        made = merged(old, body)
        if wrong := problems(made, self.version):
            return 422, _status(422, "; ".join(wrong))
        status = old.get("status")
        self.put(made)
        if status is not None:
            self.objects[(plural, name)]["status"] = status
        return 200, self.objects[(plural, name)]


def merged(old: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    base = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = merged(base.get(key), value)
    return base


def _status(code: int, message: str) -> Document:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}


@contextmanager
def serving(cluster: FakeCluster) -> Iterator[FakeCluster]:
    """Under `cluster.url`, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_PATCH(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: Document | None) -> None:
            status, document = cluster.answer(self.command, self.path, dict(self.headers.items()), body)
            content = json.dumps(document).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):  # who asked has given up
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    cluster.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
