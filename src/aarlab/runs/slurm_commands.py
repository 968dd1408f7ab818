"""Slurm's commands, as they are asked and understood: sbatch, squeue, scancel, sinfo."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from typing import Annotated

from pydantic import ConfigDict, Field

from aarlab.core.errors import Misconfigured, Transient
from aarlab.core.records import Record
from aarlab.core.settings import slurm_environment

COMMANDS = ("sbatch", "squeue", "scancel", "sinfo")
WITHIN_S = 60.0  # of one command; a controller that is down takes nine seconds
# words of a controller that is down, starts, or is too busy
NO_ANSWER = re.compile(
    r"unable to contact|connect failure|socket timed out|timed out|connection refused|standby mode|"
    r"temporarily|zero bytes were transmitted|communication|insane message length|"
    r"unable to establish",
    re.IGNORECASE,
)
OURS = ("--array", "--job-name", "-J", "--output", "--error", "--export", "--wrap", "--parsable")
ENDING = {"COMPLETING", "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED"}
# pending, and no other job that ends will change it
NEVER = re.compile(
    r"BadConstraints|PartitionNodeLimit|PartitionTimeLimit|PartitionDown|PartitionInactive|"
    r"AssocGrp|AssocMax|QOS\w*Limit|InvalidAccount|InvalidQOS|JobHeld|ReqNodeNotAvail"
)


class SlurmOptions(Record):
    """Of `engine: slurm`: what `sbatch` gets beside what a run needs."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    partition: str | None = None
    account: str | None = None
    minutes: Annotated[int, Field(ge=1)] | None = None
    """Of each worker, `--time`; the partition's default if not given."""
    args: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Further arguments, such as `--qos=low`."""

    @property
    def argv(self) -> list[str]:
        """As sbatch takes them.

        Raises:
            Misconfigured: one of `args` is no option, or one that aarlab sets.
        """
        for word in self.args:
            if not word.startswith("-") or word.startswith(OURS):
                raise Misconfigured(
                    f"slurm.args has {word!r:.80}; sbatch takes options there, and "
                    f"{', '.join(OURS[:2])} and the like are aarlab's. Correct it."
                )
        named = {"partition": self.partition, "account": self.account, "time": self.minutes}
        return [f"--{name}={value}" for name, value in named.items() if value] + list(self.args)


class ArrayTask(Record):
    """One task of an array."""

    name: str  # JOB_TASK
    state: str
    node: str
    reason: str

    @property
    def alive(self) -> bool:
        """Whether a worker runs or will run in it."""
        return self.state not in ENDING

    @property
    def stuck(self) -> bool:
        """Whether it will not begin before somebody acts."""
        return self.state == "PENDING" and NEVER.search(self.reason) is not None


def require_slurm() -> None:
    """Raises Misconfigured where Slurm's commands are missing here, or nobody answers them."""
    if missing := [name for name in COMMANDS if shutil.which(name) is None]:
        raise Misconfigured(
            f"engine=slurm needs {', '.join(missing)}, which this machine has not. Run aar on a "
            "login node of the cluster, or install Slurm's client."
        )
    try:
        asked("sinfo", "--noheader", "--format=%P")
    except Transient as error:
        raise Misconfigured(f"{error} Bring it back, then run it again.") from error


def asked(command: str, *words: str, text: str = "") -> str:
    """What a command prints; `text`: what it reads.

    Raises:
        Transient: Slurm's controller does not answer.
        Misconfigured: it refuses.
    """
    try:
        done = subprocess.run(
            [command, *words],
            input=text,
            env=slurm_environment(),
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Transient(f"Slurm did not answer {command} within {WITHIN_S:g} s.") from error
    except OSError as error:
        raise Misconfigured(f"{command} cannot be started ({error.strerror}).") from error
    if done.returncode == 0:
        return done.stdout
    said = " ".join(done.stderr.split())[:400]
    if NO_ANSWER.search(said):
        raise Transient(f"Slurm's controller does not answer ({said}).")
    raise Misconfigured(f"Slurm refuses {command}: {said}")


def submit(name: str, argv: Sequence[str], count: int, options: Sequence[str], log: str) -> str:
    """Start an array of so many tasks that run a command; its number. They get none of this
    process's environment: it may hold keys.

    Raises:
        Transient, Misconfigured: see `asked`.
    """
    words = [*options, "--parsable", f"--job-name={name}", f"--array=0-{count - 1}"]
    words += ["--ntasks=1", "--no-requeue", "--export=HOME,USER,LOGNAME,LANG", f"--output={log}"]
    script = f"#!/bin/sh\nexec {shlex.join(argv)}\n"
    return asked("sbatch", *words, text=script).strip().partition(";")[0]


def tasks_of(name: str) -> dict[str, ArrayTask]:
    """The tasks of all arrays of that name that Slurm knows.

    Raises:
        Transient, Misconfigured: see `asked`.
    """
    words = ("--noheader", "--array", f"--user={os.geteuid()}", f"--name={name}")
    found = {}
    for line in asked("squeue", *words, "--format=%i|%T|%N|%r").splitlines():
        parts = line.strip().split("|")
        if len(parts) == 4:
            found[parts[0]] = ArrayTask(
                name=parts[0], state=parts[1], node=parts[2], reason=parts[3]
            )
    return found


def cancel(tasks: Sequence[str]) -> None:
    """End them. One that has ended is none.

    Raises:
        Transient, Misconfigured: see `asked`.
    """
    if tasks:
        asked("scancel", "--quiet", *tasks)
