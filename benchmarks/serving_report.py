"""Write the serving report: measurements in, Markdown out. Never leaves a missed goal out."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median

from markdown import machine, spread, table
from serving_servers import BARE, FEATURES, MLFLOW, PLAIN

MLFLOW_GOAL, P99_GOAL_MS, BARE_GOAL = 5.0, 20.0, 1.5
INTRODUCTION = """\
Made by `{command}` in {minutes:.1f} minutes. One row a request over kept connections on 127.0.0.1, from a load
generator in a process of its own; the same XGBoost trees ({trees} rounds, 14 features), the same machine, the same
run. The order of the servers changes from round to round; in each of {rounds} rounds each server is a fresh process:
started, asked for a score that must be the same from all of them, warmed with {warm:g} s of load, measured, and
ended. Every figure is the median of the rounds, with least and greatest."""
COMPARED = """\
- **selfheal, features from Feast**: `selfheal serve payments`, one process. A request has the account and seven
  columns; five features come from the online store (SQLite), two are computed on demand. Every answer is validated,
  counted, kept for a repeated request, and on disk within 100 ms.
- **selfheal, every column in the request**: the same server over a model of the same trees that declares no feature
  of a store: all 14 columns are sent. All else is the same, the log included.
- **mlflow models serve**: `--env-manager local`, one uvicorn worker, no access log, the Booster logged with MLflow's
  own flavour. It cannot code categories, so that its requests bring the codes: `dataframe_split` of 14 numbers.
- **bare FastAPI app**: `benchmarks/serving_bare.py`, some forty lines on one uvicorn worker: pydantic checks the 14
  columns, a dictionary codes the categories, `inplace_predict` scores. No log, no metrics, no limits, no swap of
  models."""
MISLEADS = """\
- **One process each, on {cores} cores** that the load generator shares: a server here has about one core, and what it
  does on other threads (the feature store, the log) competes with the generator. More workers answer more, with all
  four.
- **Closed loop and latency.** With {connections} connections that never rest, latency says only how long the queue
  is: {connections} divided by the throughput. Latency is measured in the open loop, at {rate:g} requests a second,
  from the moment at which a request was due. A server that cannot keep up shows seconds there.
- **One row a request** is where a server's own work weighs most. In requests of many rows the trees take over, and
  all four come closer.
- **The store is a local SQLite file.** Over a network, features cost the way there and back; the deadline of 50 ms
  and the fallback hold either way.
- **The bare app does less** in every respect; the ratio is the price of what it leaves out, not of the framework.
- **Arrivals are evenly spaced.** Bursts make queues: the 99th percentile of real traffic at the same mean is longer."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One server in one round; the fields of `serving_load.measured`, and in the closed loop CPU time a request."""

    name: str
    closed: dict[str, float]
    opened: dict[str, float]
    started_s: float
    """Until it was ready."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How it was measured."""

    command: str
    rounds: int
    warm_s: float
    connections: int
    rate: float
    trees: int
    seconds: float
    """That all of it took."""
    ceiling: Sequence[dict[str, float]]
    """The bare app's /health, by round."""


def values(found: Sequence[Measured], name: str, loop: str, what: str) -> list[float]:
    """By round."""
    return [float(getattr(one, loop)[what]) for one in found if one.name == name]


def ratios(found: Sequence[Measured], over: str, under: str, loop: str, what: str) -> list[float]:
    """Of two servers, by round."""
    return [a / b for a, b in zip(values(found, over, loop, what), values(found, under, loop, what), strict=True)]


def goals(found: Sequence[Measured]) -> list[tuple[str, str, str, bool]]:
    """Goal, wanted, measured, met."""
    p99 = values(found, FEATURES, "opened", "p99_ms")
    lost = sum(values(found, FEATURES, "opened", "failed"))
    rows = []
    for name in (PLAIN, FEATURES):
        ratio = ratios(found, name, MLFLOW, "closed", "rate")
        rows.append(
            (f"throughput: {name} / MLflow", f">= {MLFLOW_GOAL:g}", spread(ratio), median(ratio) >= MLFLOW_GOAL)
        )
    met = median(p99) <= P99_GOAL_MS and not lost
    rows.append(("p99 at the fixed rate, with features, ms", f"<= {P99_GOAL_MS:g}", spread(p99), met))
    for what, loop, over, under in (("rate", "closed", BARE, PLAIN), ("p50_ms", "opened", PLAIN, BARE)):
        ratio = ratios(found, over, under, loop, what)
        label = "throughput: bare app / selfheal" if what == "rate" else "p50 at the fixed rate: selfheal / bare app"
        rows.append((f"{label}, without features", f"<= {BARE_GOAL:g}", spread(ratio), median(ratio) <= BARE_GOAL))
    return rows


def report(found: Sequence[Measured], setting: Setting) -> str:
    """Markdown."""
    names = list(dict.fromkeys(one.name for one in sorted(found, key=lambda one: _ORDER.index(one.name))))
    goal_rows = [[what, wanted, seen, "yes" if met else "**no**"] for what, wanted, seen, met in goals(found)]
    parts = [
        "# The model server, measured",
        _introduction(setting),
        "## The goals",
        table(["goal", "wanted", "measured", "met"], goal_rows),
        f"## As fast as answers come: {setting.connections} connections",
        _table(found, names, "closed", {"rate": "requests/s", "cpu_ms": "CPU a request, ms"}),
        f"## At {setting.rate:g} requests a second",
        _table(found, names, "opened", {"p50_ms": "p50, ms", "p99_ms": "p99, ms", "max_ms": "longest, ms"}),
        "## The load generator",
        _generator(found, setting),
        "## What is compared",
        COMPARED,
        "## What misleads",
        MISLEADS.format(cores=_cores(), connections=setting.connections, rate=setting.rate),
        f"Measured with {machine()}, fastapi {version('fastapi')}, uvicorn {version('uvicorn')}.",
    ]
    return "\n\n".join(parts)


_ORDER = [FEATURES, PLAIN, BARE, MLFLOW]


def _introduction(setting: Setting) -> str:
    return INTRODUCTION.format(
        command=setting.command,
        minutes=setting.seconds / 60.0,
        trees=setting.trees,
        rounds=setting.rounds,
        warm=setting.warm_s,
    )


def _table(found: Sequence[Measured], names: Sequence[str], loop: str, columns: dict[str, str]) -> str:
    rows = []
    for name in names:
        failed = int(sum(values(found, name, loop, "failed")))
        rows.append([name, *(spread(values(found, name, loop, what)) for what in columns), failed])
    return table(["", *columns.values(), "failed"], rows)


def _generator(found: Sequence[Measured], setting: Setting) -> str:
    ceiling = spread([one["rate"] for one in setting.ceiling])
    share = max(float(one.closed["generator_share"]) for one in found)
    alone = median(one["generator_share"] for one in setting.ceiling)
    behind = max(float(one.opened["behind_p99_ms"]) for one in found)
    return (
        f"Sockets and prepared bytes, no HTTP library. It asked the bare app's `/health` {ceiling} times a second, and "
        f"worked {alone:.0%} of that time: its own ceiling lies above. In the closed loops above it worked "
        f"at most {share:.0%} of the time. At the fixed rate it sent 99 % of the requests within {behind:.2f} ms of "
        "the moment at which they were due, in the worst round; that delay is in the latencies.\n\n"
        + table(
            ["started, until ready", "s"],
            [[name, spread([one.started_s for one in found if one.name == name])] for name in _ORDER],
        )
    )


def _cores() -> int:
    import os

    return os.cpu_count() or 1
