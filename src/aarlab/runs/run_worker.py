"""The one run worker: code and data into a sandbox without network, one command in it, and how it
ended as bytes. Every engine runs this, on this machine or another."""

import os
import shutil
import stat
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from aarlab.core.errors import AarError, InvalidSubmission
from aarlab.core.own_code import ROOT
from aarlab.runs.data_pack import packed_files
from aarlab.runs.endings import Processors
from aarlab.runs.own_folders import require_own_folders
from aarlab.runs.plain_files import plain_files
from aarlab.runs.run_jobs import MAX_RESULT_BYTES, Job, JobHead, packed, refusal
from aarlab.runs.written_code import write_code
from aarlab.sandbox.disk_usage import scratch
from aarlab.sandbox.sandbox import MakeSandbox, Mount, Sandbox, SandboxSpec, Standing

CODE, OUT = "/code", "/out"


def work(
    job: Job,
    folders: Mapping[str, Path],
    make_sandbox: MakeSandbox,
    processors: Callable[[], Processors] = Processors,
) -> bytes:
    """Run a job; `folders`: where this node has its data, by their paths inside. Returns what
    `run_jobs.opened` reads, also where it could not be run."""
    try:
        with scratch() as place:
            code, out = place / "code", place / "out"
            write_code(code, job.files)
            out.mkdir()
            mounts = (
                *(Mount(source, target) for target, source in folders.items()),
                Mount(code, CODE),
                Mount(out, OUT, writable=True),
                *(Mount(_empty(place / "own" / f[1:]), f, writable=True) for f in job.own),
            )
            head = _in_sandbox(job, mounts, make_sandbox, processors)
            begun, free = (out / job.begun).exists(), shutil.disk_usage(place).free
            head = head.model_copy(update={"begun": begun, "free_bytes": free})
            if job.folder_bytes is not None:
                return _with_folder(head, out / job.result, job.folder_bytes)
            return _with_result(head, out / job.result)
    except AarError as error:
        return refusal(error)


def _in_sandbox(
    job: Job,
    mounts: tuple[Mount, ...],
    make_sandbox: MakeSandbox,
    processors: Callable[[], Processors],
) -> JobHead:
    # the aarlab of the job's key, even if another one is installed
    env = {**job.env, "PYTHONPATH": str(ROOT.parent)}
    together = job.limits
    standing = Standing(
        memory_bytes=together.together_bytes, disk_bytes=together.disk_bytes, cpus=together.cpus
    )
    spec = SandboxSpec(
        name=job.name, mounts=mounts, env=env, workdir=OUT, standing=standing, image=job.image
    )
    with closing(make_sandbox(spec)) as sandbox:
        require_own_folders(sandbox, job.own)
        watched = processors()
        done = sandbox.exec([_word(word, sandbox) for word in job.argv], job.limits.limits)
        return JobHead(**vars(done), left=watched.left(sandbox.usage().cpu_s))


def _word(word: str, sandbox: Sandbox) -> str:
    """A word of the command as this node and this sandbox have it."""
    if word == "@python":
        return sys.executable
    if not word.startswith("@/"):
        return word
    first, *below = word[2:].split("/")
    return "/".join([sandbox.inside(f"/{first}"), *below])


def _empty(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _with_folder(head: JobHead, folder: Path, limit: int) -> bytes:
    """With the plain files below the folder that the job left."""
    if not os.path.lexists(folder):
        return packed(head)
    try:
        data = packed_files(plain_files(folder, limit))
        if len(data) > MAX_RESULT_BYTES:
            raise InvalidSubmission(f"{folder.name} has too many files. Send fewer.")
    except InvalidSubmission as error:
        return packed(head.model_copy(update={"misshapen": True, "words": str(error)}))
    return packed(head.model_copy(update={"size": len(data)}), data)


def _with_result(head: JobHead, path: Path) -> bytes:
    """With the file that the job left, which may be anything: a link to a private file, a pipe, a
    huge file. Its processes have ended, so it does not change before it is read."""
    if not os.path.lexists(path):
        return packed(head)
    try:
        data = read_regular(path)
    except InvalidSubmission:
        return packed(head.model_copy(update={"misshapen": True}))
    return packed(head.model_copy(update={"size": len(data)}), data)


def read_regular(path: Path) -> bytes:
    """The bytes of a file that untrusted code wrote.

    Raises:
        InvalidSubmission: it is no regular file of at most MAX_RESULT_BYTES.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_RESULT_BYTES:
        raise InvalidSubmission(
            f"{path.name} must be a regular file of at most {MAX_RESULT_BYTES} bytes."
        )
    return path.read_bytes()
