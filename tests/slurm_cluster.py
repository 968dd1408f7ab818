"""A real Slurm of one node on loopback (Debian's slurm-wlm and munge), started by hand, without
systemd and without cgroups, and ended with the tests that use it."""

import os
import platform
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.store_servers import free_port
from tests.waiting import waited_for

WITHIN_S = 60.0
# processes of one node here see each other's; a real one has cgroups
CONFIG = """\
ClusterName=aar
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
MailProg=/bin/true
KillWait=2
InactiveLimit=0
EnforcePartLimits=ALL
SchedulerParameters=sched_interval=1,batch_sched_delay=0
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=600 State=UP
"""
NODE = (
    "NodeName={} NodeAddr=127.0.0.1 NodeHostname={} Port={} CPUs={} RealMemory=40000 State=UNKNOWN"
)
PROGRAMS = {"munged": "munge", "slurmctld": "slurm-wlm", "slurmd": "slurm-wlm"}


class SlurmCluster:
    """Nodes with `cpus` processors each, whatever this machine has. `folder` is where everything of
    it lies, and `shared` what its jobs share with who submits. `before`: by node, words before its
    command. `gpu`: each has one, on paper."""

    def __init__(
        self,
        cpus: int = 4,
        nodes: Sequence[str] = ("localhost",),
        before: Mapping[str, Sequence[str]] | None = None,
        gpu: bool = False,
    ) -> None:
        for program, package in PROGRAMS.items():
            if shutil.which(program) is None:
                pytest.skip(f"needs {program} (apt-get install --no-install-recommends {package})")
        if os.geteuid() != 0:
            pytest.skip("slurmd starts jobs as root alone")
        self.folder = Path(tempfile.mkdtemp(prefix="aar-slurm-"))
        self.folder.chmod(0o755)
        self.shared, self._started = self.folder / "home" / "slurm", {}
        for name in ("state", "munge", "home"):
            (self.folder / name).mkdir()
        key = self.folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        self.config = self.folder / "slurm.conf"
        self.config.write_text(
            CONFIG.format(
                folder=self.folder,
                controller=free_port(),
                user="root",
                nodes="\n".join(
                    NODE.format(node, platform.node().partition(".")[0], free_port(), cpus)
                    + (" Gres=gpu:1" if gpu else "")
                    for node in nodes
                ),
            )
        )
        if gpu:
            self.config.write_text(f"GresTypes=gpu\n{self.config.read_text()}")
            (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        try:
            self._start_munge()
            self.start("slurmctld")
            for node in nodes:
                argv = [*(before or {}).get(node, ()), "slurmd", "-D", "-f", str(self.config)]
                self._popen(node, [*argv, "-N", node])
            self._await(len(nodes))
        except BaseException:
            self.close()
            raise

    @property
    def environment(self) -> dict[str, str]:
        """What who submits needs."""
        return {"SLURM_CONF": str(self.config)}

    def _start_munge(self) -> None:
        place = self.folder / "munge"
        argv = ["munged", "--foreground", "--force", f"--key-file={place}/key"]
        argv += [f"--{n}-file={place}/{n}" for n in ("pid", "log", "seed")]
        self._popen("munged", [*argv, f"--socket={place}/socket"])
        waited_for((place / "socket").exists, WITHIN_S)

    def start(self, name: str) -> None:
        """Start slurmctld, also again."""
        self._popen(name, [name, "-D", "-f", str(self.config)])

    def _popen(self, name: str, argv: list[str]) -> None:
        with (self.folder / f"{name}.out").open("ab") as log:
            self._started[name] = subprocess.Popen(
                argv,
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _await(self, nodes: int) -> None:
        until = time.monotonic() + WITHIN_S
        while self.ask("sinfo", "--noheader", "--Node", "--format=%T").count("idle") < nodes:
            said = "".join(p.read_text()[-1500:] for p in self.folder.glob("*.log"))
            assert time.monotonic() < until, said
            time.sleep(0.2)

    def ask(self, *argv: str) -> str:
        """What one of Slurm's commands prints."""
        env = os.environ | self.environment
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        return done.stdout

    def stop(self, name: str, number: int = signal.SIGKILL) -> None:
        """End slurmctld, munged, or the slurmd of a node."""
        process = self._started.pop(name)
        process.send_signal(number)
        process.wait()

    def workers(self) -> list[int]:
        """The processes of our workers."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (path / "cmdline").read_bytes()
                if b"aarlab.runs.slurm_worker" in command and bytes(self.folder) in command:
                    found.append(int(path.name))
        return found

    def close(self) -> None:
        """End every process of it, and remove its folder."""
        if "slurmctld" in self._started:
            self.ask("scancel", "--user=root")
        for pid in self.workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 5
        while self._steps() and time.monotonic() < until:
            time.sleep(0.1)
        for name in reversed(list(self._started)):
            self.stop(name, signal.SIGTERM if name == "munged" else signal.SIGKILL)
        for pid in self._steps():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _steps(self) -> list[int]:
        """The processes that watch this cluster's jobs."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if b"slurmstepd" in (path / "cmdline").read_bytes():
                    environ = (path / "environ").read_bytes()
                    if bytes(self.folder) in environ:
                        found.append(int(path.name))
        return found
