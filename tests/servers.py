"""Real servers of our own on free ports of 127.0.0.1: PostgreSQL, Redis, moto's S3; each ends with its test."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PASSWORD = "nightingale/pass@word,1e5"
QUOTED = "nightingale%2Fpass%40word%2C1e5"
"""A password with everything that an address must escape."""
CANARY = "nightingale"
"""The word in every secret that a test looks for where it must not be; selfheal itself never says it."""
KEYS = {"key": "an-access-key", "secret": "nightingale-secret-key"}
POSTGRES_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(name: str, package: str) -> str:
    """The path of a program; skips where its Debian package is not installed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, POSTGRES_PROGRAMS)])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install {package})")
    return found


@dataclass
class Postgres:
    """One server. Its user is `selfheal`, whose password is PASSWORD; each name is a database of its own."""

    folder: Path
    port: int
    made: set[str] = field(default_factory=set)

    @property
    def user(self) -> str | None:
        """PostgreSQL refuses to run as root."""
        return "postgres" if os.geteuid() == 0 else None

    def address(self, database: str, password: str = QUOTED) -> str:
        return f"postgresql://selfheal:{password}@127.0.0.1:{self.port}/{database}"

    def url(self, database: str) -> str:
        """The address, as SQLAlchemy takes it, of a database that is made when it is first asked for."""
        import psycopg2

        if database not in self.made:
            connection = psycopg2.connect(self.address("postgres"))
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f'create database "{database}"')
            connection.close()
            self.made.add(database)
        return self.address(database).replace("postgresql:", "postgresql+psycopg2:")

    def run(self, *command: str) -> None:
        name, *arguments = command
        subprocess.run(
            [program(name, "postgresql"), "-D", str(self.folder / "data"), *arguments],
            user=self.user,
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        )

    def start(self) -> None:
        settings = (
            f"-c fsync=off -c max_connections=400 -c listen_addresses=127.0.0.1 -c port={self.port} -k {self.folder}"
        )
        self.run("pg_ctl", "--wait", "-o", settings, "-l", f"{self.folder}/log", "start")

    def stop(self, mode: str = "immediate") -> None:
        self.run("pg_ctl", "--wait", f"--mode={mode}", "stop")


DUMP = "pg_dump --format=custom --no-owner --file"
RESTORE = "pg_restore --no-owner --exit-on-error --single-transaction"
"""As deployment/README.md has them."""


def back_up(address: str, file: Path) -> None:
    """Write the database of that address into the file, as deployment/README.md says."""
    name, *options = DUMP.split()
    subprocess.run([program(name, "postgresql"), *options, str(file), address], check=True)


def restore(file: Path, address: str) -> None:
    """Read the file into an empty database."""
    name, *options = RESTORE.split()
    subprocess.run([program(name, "postgresql"), *options, "--dbname", address, str(file)], check=True)


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    program("initdb", "postgresql")
    folder = Path(tempfile.mkdtemp(prefix="selfheal-"))
    server = Postgres(folder, free_port())
    (folder / "password").write_text(PASSWORD)
    if server.user:
        for path in (folder, folder / "password"):
            shutil.chown(path, server.user)
    try:
        server.run(
            *("initdb", "--no-sync", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"),
            *("--username=selfheal", "--encoding=UTF8", "--locale=C"),
        )
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@dataclass
class Child:
    """A server that is one process."""

    command: list[str]
    port: int
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise TimeoutError(f"{self.command} does not listen")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(15)
            self.process = None


@dataclass
class Redis(Child):
    def url(self, database: int = 0, password: str = QUOTED) -> str:
        return f"redis://:{password}@127.0.0.1:{self.port}/{database}"

    def flush(self) -> None:
        import redis

        with redis.Redis(host="127.0.0.1", port=self.port, password=PASSWORD) as client:
            client.flushall()


@contextmanager
def redis_server() -> Iterator[Redis]:
    path, port = program("redis-server", "redis-server"), free_port()
    with tempfile.TemporaryDirectory(prefix="selfheal-") as folder:
        command = [path, "--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--appendonly", "yes"]
        server = Redis(command, port, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@dataclass
class ObjectStore(Child):
    """moto's S3; what is in it ends with its process."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def options(self) -> dict[str, object]:
        return {**KEYS, "endpoint_url": self.endpoint, "client_kwargs": {"region_name": "us-east-1"}}

    def bucket(self, name: str) -> str:
        """The root of a new, empty bucket."""
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=KEYS["key"],
            aws_secret_access_key=KEYS["secret"],
        )
        client.create_bucket(Bucket=name)
        return f"s3://{name}/selfheal"


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="selfheal-") as folder:
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = ObjectStore(command, port, Path(folder))
        server.start()
        with urllib.request.urlopen(f"{server.endpoint}/moto-api/", timeout=30) as answer:
            assert answer.status == 200
        try:
            yield server
        finally:
            server.stop()
