"""The demonstration on the services of a company: PostgreSQL, Redis and an object store; and once more with outages."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from servers import (
    CANARY,
    PASSWORD,
    ObjectStore,
    Postgres,
    Redis,
    back_up,
    object_store,
    postgres_server,
    program,
    redis_server,
    restore,
)
from stack import environment

from selfheal_assets.operations.demo_phases import BATCHES
from selfheal_assets.project import PROJECT

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(2400)]

ROWS = 2_000
OWN = ("SELFHEAL", "DAGSTER", "AWS_", "MLFLOW")
SELFHEAL = "from selfheal_assets.cli import app; app()"


@pytest.fixture(scope="module")
def stack() -> Iterator[tuple[Postgres, Redis, ObjectStore]]:
    """Servers of this file's own: it ends them in the middle."""
    with postgres_server() as postgres, redis_server() as redis, object_store() as objects:
        yield postgres, redis, objects


def variables(stack: tuple[Postgres, Redis, ObjectStore], folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    return {**kept, **environment(*stack, folder / "secrets"), "PYTHONWARNINGS": "ignore"}


def selfheal(used: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SELFHEAL, *arguments]
    return subprocess.run(command, cwd=PROJECT, env=used, capture_output=True, text=True, timeout=2300, check=False)


def demo(home: Path, result: Path) -> list[str]:
    """The words of the command."""
    return ["demo", "--home", str(home), "--rows", str(ROWS), "--phase-seconds", "600", "--json", str(result)]


def assert_no_secret(postgres: Postgres, home: Path, *texts: str) -> None:
    """Neither in what was said, nor in any log or file of the home, nor in any row of any database."""
    dumped = subprocess.run(
        [program("pg_dumpall", "postgresql"), "--dbname", postgres.address("postgres"), "--no-role-passwords"],
        env={**os.environ, "PGPASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "payments" in dumped
    places = [path for path in home.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert places == []
    found = [line[:300] for text in (dumped, *texts) for line in text.splitlines() if CANARY in line]
    assert found == []


def assert_healed(told: dict[str, Any]) -> None:
    assert told["ok"], told["failures"]
    rows = told["rows"]
    assert rows["landed"] == rows["clean"] + rows["quarantined"] == BATCHES * ROWS
    assert told["retrains_promoted"] == 1
    (healed,) = [each for each in told["incidents"] if each["action"] == "retrain"]
    assert (healed["cause"], healed["state"]) == ("harmful_drift", "RESOLVED")


def assert_restored(used: dict[str, str], folder: Path) -> None:
    """On a new machine, with other servers of PostgreSQL and Redis, from the dumps and the object store alone."""
    with postgres_server() as postgres, redis_server() as redis:
        fresh = {**used, "SELFHEAL_HOME": str(folder / "restored"), "SELFHEAL_ONLINE_STORE_URL": redis.url()}
        for name in [name for name in used if name.startswith("SELFHEAL_")]:
            address = Path(used[name]).read_text(encoding="utf-8").strip() if name.endswith("_FILE") else used[name]
            if address.startswith("postgresql:"):
                database = address.rsplit("/", 1)[1]
                back_up(address, folder / database)
                fresh[name.removesuffix("_FILE")] = postgres.url(database)
                restore(folder / database, postgres.address(database))
        del fresh["SELFHEAL_LEDGER_URL_FILE"]
        for words in (["init"], ["ledger", "verify"], ["materialize"], ["doctor"]):
            done = selfheal(fresh, *words)
            assert done.returncode == 0, (words, done.stdout, done.stderr)
        assert selfheal(fresh, "status").stdout == selfheal(used, "status").stdout


@pytest.mark.nightly
@pytest.mark.parametrize("options", [("--batches-only",), ()], ids=["batches", "live"])
def test_the_demonstration_heals_on_services(
    stack: tuple[Postgres, Redis, ObjectStore], tmp_path: Path, options: Sequence[str]
) -> None:
    used, home, result = variables(stack, tmp_path), tmp_path / "home", tmp_path / "demo.json"
    finished = selfheal(used, *demo(home, result), *options)
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-4000:]
    assert_healed(json.loads(result.read_text(encoding="utf-8")))
    assert not (home / "ledger.db").exists()
    assert not (home / "mlflow").exists()
    assert not list((home / "feast").glob("*.db"))
    used["SELFHEAL_HOME"] = str(home)
    audit, checked = selfheal(used, "ledger", "verify"), selfheal(used, "doctor")
    assert (audit.returncode, checked.returncode) == (0, 0), audit.stdout + checked.stdout
    logs = "".join(path.read_text(encoding="utf-8", errors="replace") for path in (home / "logs").iterdir())
    assert_no_secret(stack[0], home, finished.stdout, finished.stderr, audit.stdout, checked.stdout, logs)


def test_nothing_is_lost_when_services_go_and_come(stack: tuple[Postgres, Redis, ObjectStore], tmp_path: Path) -> None:
    """PostgreSQL is restarted in the middle of an ingest; Redis goes as batches land, until a run fails for it."""
    postgres, redis, _ = stack
    used, home, result = variables(stack, tmp_path), tmp_path / "home", tmp_path / "demo.json"
    command = [sys.executable, "-u", "-c", SELFHEAL, *demo(home, result), "--batches-only"]
    away = {
        "checked    payments-0004": lambda: restart(postgres),
        "landed     payments-0009": lambda: lose(redis, home),
    }
    told = list[str]()
    with subprocess.Popen(
        command, cwd=PROJECT, env=used, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as played:
        assert played.stdout is not None
        for line in played.stdout:
            told.append(line)
            for moment in [words for words in away if words in line]:
                away.pop(moment)()
    assert played.returncode == 0, "".join(told)[-8000:]
    assert not away
    assert_healed(json.loads(result.read_text(encoding="utf-8")))
    used["SELFHEAL_HOME"] = str(home)
    audit = selfheal(used, "ledger", "verify")
    assert audit.returncode == 0, audit.stdout
    assert_no_secret(postgres, home, *told, audit.stdout)
    assert_restored(used, tmp_path)


def restart(postgres: Postgres) -> None:
    postgres.stop("fast")
    time.sleep(2)
    postgres.start()


def lose(redis: Redis, home: Path) -> None:
    """Until an ingest has failed for it."""
    redis.stop()
    log, deadline = home / "logs" / "daemon.log", time.monotonic() + 120
    while not re.search("payments_ingest .* RUN_FAILURE", log.read_text(encoding="utf-8")):
        assert time.monotonic() < deadline, "no run needed Redis"
        time.sleep(1)
    redis.start()
