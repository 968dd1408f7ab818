"""A real Ray on loopback, with token authentication, started by tests and ended with them."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.store_servers import free_port

WITHIN_S = 150.0
# `ray start` with every node on loopback, which Ray permits to a single node alone
START = """
import sys
from ray._private import ray_constants, services
services.get_node_ip_address = lambda *_: "127.0.0.1"
ray_constants.ENABLE_RAY_CLUSTER = True
from ray.scripts.scripts import main
sys.argv[0] = "ray"
main()
"""


class RayCluster:
    """A head, which is a node with `cpus` processors; further nodes are added by `add`. `home`:
    AAR_HOME of all of them."""

    def __init__(self, cpus: int = 2, *, token: bool = True, home: Path | None = None) -> None:
        pytest.importorskip("ray", reason="needs Ray (pip install 'aarlab[cluster]')")
        self.folder = Path(tempfile.mkdtemp(prefix="aar-ray-"))
        self.port, self.token = free_port(), secrets.token_hex(32)
        self.address = f"127.0.0.1:{self.port}"
        self.home = home or self.folder / "aar"
        self._token, self.nodes = token, []
        self.nodes.append(self._start("--head", f"--port={self.port}", f"--num-cpus={cpus}"))
        try:
            self._await(1)
        except BaseException:
            self.close()
            raise

    @property
    def environment(self) -> dict[str, str]:
        """What who joins it needs. The last one keeps all of Ray on loopback."""
        secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        return (secret if self._token else {"RAY_AUTH_MODE": "disabled"}) | {
            "RAY_ADDRESS": self.address,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "HOME": str(self.folder),
        }

    def _start(self, *words: str, before: Sequence[str] = ()) -> subprocess.Popen:
        argv = [*before, sys.executable, "-c", START, "start", "--block", *words]
        argv += ["--object-store-memory=100000000", "--disable-usage-stats"]
        argv += ["--include-log-monitor=false"]
        if "--head" in words:
            argv += ["--include-dashboard=false", f"--temp-dir={self.folder}/r"]
        env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        env |= self.environment | {
            "AAR_HOME": str(self.home),
            "RAY_process_group_cleanup_enabled": "1",
            "RAY_worker_niceness": "0",
            "RAY_gcs_rpc_server_reconnect_timeout_s": "20",
        }
        if "--head" in words:
            del env["RAY_ADDRESS"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(argv, env=env, stdout=log, stderr=log, start_new_session=True)

    def add(self, cpus: int = 1, before: Sequence[str] = ()) -> subprocess.Popen:
        """One more node on this machine. `before`: words before its command."""
        made = self._start(f"--address={self.address}", f"--num-cpus={cpus}", before=before)
        self.nodes.append(made)
        self._await(len(self.nodes))
        return made

    def _await(self, nodes: int) -> None:
        words = (
            "import sys; from ray._raylet import GcsClient\n"
            "found = GcsClient(address=sys.argv[1]).get_all_node_info(timeout=5).values()\n"
            "sys.exit(0 if sum(n.state == 0 for n in found) >= int(sys.argv[2]) else 3)"
        )
        until = time.monotonic() + WITHIN_S
        while True:
            done = subprocess.run(
                [sys.executable, "-c", words, self.address, str(nodes)],
                env=os.environ | self.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 0:
                return
            said = (self.folder / "log").read_text()[-2000:]
            assert self.nodes == [] or self.nodes[-1].poll() is None, said
            assert time.monotonic() < until, said + done.stderr[-500:]
            time.sleep(0.2)

    def pids(self, node: int = 0, words: str = "") -> list[int]:
        """The processes of a node whose command has these words."""
        session, found = self.nodes[node].pid, []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError, IndexError):
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if int(fields[3]) == session and words in command:
                    found.append(int(path.name))
        return found

    def kill(self, node: int = 0, words: str = "") -> int:
        """SIGKILL to them; returns how many there were."""
        found = self.pids(node, words)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def join(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set what who joins it needs."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def close(self) -> None:
        """End every process of it, and remove its folder."""
        for number, one in enumerate(self.nodes):
            self.kill(number)
            one.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def two_nodes(
    monkeypatch: pytest.MonkeyPatch, cpus: int = 1, home: Path | None = None
) -> Iterator[RayCluster]:
    """A fixture's: a cluster of two nodes, which this process can join."""
    with closing(RayCluster(cpus, home=home)) as made:
        made.add(cpus)
        made.join(monkeypatch)
        yield made
