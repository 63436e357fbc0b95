"""What the kill test runs in processes of its own: a loop that settles, or dies on the way, and a look at the end."""

import hashlib
import importlib
import json
import os
import signal
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

HEAVY = ("great_expectations", "feast", "mlflow", "dagster_mlflow", "optuna", "xgboost", "scipy.stats", "duckdb")
"""Imported once by the fork server, not by every process that is killed."""


@dataclass(frozen=True)
class Point:
    """Where a process dies: at a call, before or after it is done."""

    module: str
    name: str
    when: str = ""
    """Only a call with this text among its arguments counts."""
    nth: int = 1
    before: bool = False


def _of_store(stage: str, nth: int = 1) -> Point:
    """When the file of the stage is in its place."""
    return Point("os", "replace", f"/{stage}/", nth)


def _of_ledger(word: str, *, before: bool = False) -> Point:
    """At the writing of a record with that value, by its name: `Signal.DRIFT`."""
    return Point("selfheal_assets.adapters.sql_ledger", "SqlLedger.append", f"<{word}:", before=before)


POINTS = {
    "file taken": Point("selfheal_assets.adapters.batch_store", "FileBatchStore._claimed"),
    "second raw batch written": _of_store("raw", 2),
    "second clean batch written": _of_store("clean", 2),
    "bad rows kept, not settled": Point("selfheal_assets.adapters.batch_store", "FileBatchStore.write_quarantine"),
    "settled, not published": Point("selfheal_assets.adapters.feast_features", "FeastFeatures.publish", before=True),
    "offline features written, not online": Point("selfheal_assets.adapters.feast_features", "refresh", before=True),
    "evidence recorded, not closed": _of_ledger("Signal.DRIFT"),
    "diagnosed, not decided": _of_ledger("IncidentState.DIAGNOSED", before=True),
    "decided, not requested": _of_ledger("Action.RETRAIN"),
    "ended, not verified": _of_ledger("IncidentState.VERIFYING", before=True),
    "verified, not resolved": _of_ledger("IncidentState.RESOLVED", before=True),
    "resolved": _of_ledger("IncidentState.RESOLVED"),
    "training set written": _of_store("training"),
    "study half done": Point("selfheal_assets.adapters.tuning_objective", "boost", nth=2, before=True),
    "version registered, no alias": Point(
        "mlflow.tracking.client", "MlflowClient.set_registered_model_alias", "challenger", before=True
    ),
    "judged, not promoted": Point(
        "selfheal_assets.adapters.batch_store", "FileBatchStore.write_document", "validation-"
    ),
    "previous moved, champion not": Point(
        "selfheal_assets.adapters.mlflow_registry", "MlflowRegistry.move_alias", "champion", before=True
    ),
    "champion moved, no reference": Point(
        "selfheal_assets.adapters.mlflow_registry", "MlflowRegistry.move_alias", "champion"
    ),
    "reference written, outcome not": _of_ledger("RecordKind.OUTCOME", before=True),
    "outcome written, its step not ended": _of_ledger("RecordKind.OUTCOME"),
}


def settle(home: Path, point: str | None) -> None:
    """Start over the home as `selfheal up` does, and settle; or die at the point."""
    import dagster as dg

    from selfheal_assets.operations.dagster_processes import fail_orphaned_runs
    from selfheal_assets.operations.in_process import InProcessLoop

    services = _started(home)
    fail_orphaned_runs()
    if point is not None:
        _die_at(POINTS[point])
    with dg.DagsterInstance.get() as instance:
        InProcessLoop(services, tiny(), instance).settle()


def tiny() -> Any:
    """Payments with a study of seconds and a gate that lets a sound model of few rows pass."""
    from selfheal_assets.components.declaration import load_spec
    from selfheal_assets.project import MODELS, PROJECT

    spec = load_spec(PROJECT / MODELS / "payments" / "defs.yaml")
    return replace(
        spec,
        drift=replace(spec.drift, detector="scipy"),
        training=replace(spec.training, trials=3, windows=(2,), min_rows=500, max_boost_rounds=30),
        performance=replace(spec.performance, min_rows=100),
        gate=replace(
            spec.gate, metric_floor=0.6, margin=0.1, max_slice_drop=0.5, max_calibration_error=0.3, max_latency_ms=1e4
        ),
        policy=replace(spec.policy, cooldown_minutes=0.0),
    )


def _started(home: Path) -> Any:
    import sqlalchemy

    from selfheal_assets.adapters import gx_data_docs
    from selfheal_assets.operations.home import initialise
    from selfheal_assets.stages import plots

    log = os.open(home.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    warnings.simplefilter("ignore")
    # A killed process loses nothing that it has handed to the kernel; only a power cut would.
    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", lambda c, _: c.execute("PRAGMA synchronous=OFF"))
    gx_data_docs.publish = lambda *_: None
    plots.as_markdown = lambda *_: "a plot"
    return initialise(home)


def _die_at(point: Point) -> None:
    owner: Any = importlib.import_module(point.module)
    *path, name = point.name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def deadly(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += point.when in repr([*arguments[1:], *keywords.values()]) if point.when else 1
        die = partial(os.kill, os.getpid(), signal.SIGKILL) if calls == point.nth else lambda: None
        if point.before:
            die()
        result = original(*arguments, **keywords)
        die()
        return result

    setattr(owner, name, deadly)


def describe(home: Path, target: Path) -> None:
    """Write down, as JSON, everything about the home that a kill must not change."""
    import dagster as dg

    services, spec = _started(home), tiny()
    with dg.DagsterInstance.get() as instance:
        begun = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
        unfinished = instance.get_runs_count(dg.RunsFilter(statuses=begun))
        partitions = sorted(instance.get_dynamic_partitions(f"{spec.name}_batches"))
    state = {**_batches(services, spec), **_models(services, spec)}
    state |= {"partitions": partitions, "unfinished_runs": unfinished}
    target.write_text(json.dumps(state, indent=1))


def _rows_hash(frame: Any) -> str:
    """Of the rows as a multiset, to nine decimals."""
    import pandas as pd

    frame = frame.round(9)
    frame = frame.assign(**{n: frame[n].astype(object).where(frame[n].notna(), None) for n in frame.columns})
    hashes = sorted(pd.util.hash_pandas_object(frame.astype(str), index=False))
    return hashlib.sha256(json.dumps([int(h) for h in hashes]).encode()).hexdigest()[:16]


def _batches(services: Any, spec: Any) -> dict[str, Any]:
    import pandas as pd

    from selfheal_assets.core.record import RecordKind

    store, ledger = services.batches, services.ledger
    ids = sorted({r.subject for r in ledger.after(spec.name, RecordKind.BATCH_REGISTERED, 0, 1_000)})
    settled = ledger.current(spec.name, RecordKind.BATCH_SETTLED, ids)
    # Of batches; what is about the making of a candidate bears the decision's name.
    evidence = [e for e in ledger.after(spec.name, RecordKind.EVIDENCE, 0, 1_000) if e.subject in ids]
    bad = {b: store.read_quarantine(spec.name, b)[0] for b in ids if store.quarantine(spec.name, b).exists()}
    return {
        "batches": {
            b: [r.status, {k: v for k, v in r.payload.items() if k.startswith("rows") or k == "labelled_rows"}]
            for b, r in sorted(settled.items())
        },
        "rows": {
            stage: {b: _rows_hash(store.read(spec.name, stage, b)) for b in ids if store.has(spec.name, stage, b)}
            for stage in ("raw", "clean", "features")
        },
        "published": {
            path.name: _rows_hash(pd.read_parquet(path))
            for path in sorted((services.home / "features" / spec.name).glob("[!_.]*.parquet"))
        },
        "quarantined": {b: None if rows is None else _rows_hash(rows) for b, rows in bad.items()},
        "open": [r.subject for r in ledger.open_batches(spec.name, limit=99)],
        "landing": [str(path) for path in store.landing(spec.name).rglob("*") if path.is_file()],
        "evidence": dict(sorted(Counter(f"{e.payload['signal']} of {e.subject}" for e in evidence).items())),
        "raised": sorted(f"{e.payload['signal']} of {e.subject}" for e in evidence if e.status == "RAISED"),
    }


def _models(services: Any, spec: Any) -> dict[str, Any]:
    from mlflow import MlflowClient

    from selfheal_assets.core.record import RecordKind

    ledger, registry = services.ledger, services.registry
    decisions = ledger.after(spec.name, RecordKind.DECISION, 0, 1_000)
    outcomes = ledger.after(spec.name, RecordKind.OUTCOME, 0, 1_000)
    aliases = {a: registry.by_alias(spec.name, a) for a in ("champion", "challenger", "previous")}
    client = MlflowClient(services.tracking_uri)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    reports = {o.subject: services.batches.read_document(spec.name, f"validation-{o.subject}") for o in outcomes}
    # An incident is named by its place in the ledger, which failed runs move, and its decisions are named by it.
    names = {d.subject: f"decision {number}" for number, d in enumerate(decisions)}
    return {
        "decisions": [
            [d.payload["cause"], d.payload["action"], d.status, d.payload["batch_ids"], d.payload["training_batches"]]
            for d in decisions
        ],
        "incidents": _incidents(services, spec, names),
        "outcomes": [[names[o.subject], o.status, o.payload["version"]] for o in outcomes],
        "versions": dict(Counter(names[v.tags["decision_id"]] for v in registry.versions(spec.name))),
        "aliases": {alias: version.version if version else None for alias, version in aliases.items()},
        "learned_from": {v.version: json.loads(v.tags["batch_ids"]) for v in registry.versions(spec.name)},
        "metrics": {names[subject]: report["metric"] for subject, report in reports.items() if report},
        "references": {
            v.version: len(services.batches.read(spec.name, "reference", v.version))
            for v in registry.versions(spec.name)
        },
        "mlflow_runs": dict(Counter(run.info.status for run in runs)),
    }


def _incidents(services: Any, spec: Any, names: dict[str, str]) -> list[Any]:
    """In the order of opening: what each is about, what was tried, and every state that it went through."""
    from selfheal_assets.stages.case_file import case_file, incident_ids

    cases = [case_file(services.ledger, spec, i) for i in incident_ids(services.ledger, spec, limit=1_000)]
    return [
        [
            case.incident.cause,
            list(case.incident.batch_ids),
            [[a.action, names[a.decision_id], a.result, a.version] for a in case.incident.tried],
            [transition.state for transition in case.transitions],
        ]
        for case in cases
        if case
    ]
