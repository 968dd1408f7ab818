"""The contract of an engine, which places jobs on machines; and its examination.

An engine keeps nothing that counts: a job's key stands for all that decides its result, so what was
lost is run again, at least once, and the cache of runs is the only state. It is no boundary of
trust: the sandbox is.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol, runtime_checkable

from aarlab.core.errors import AarError, InvalidSubmission, Transient
from aarlab.core.own_code import whole_code
from aarlab.runs.run_jobs import DeviceCount, Job, JobLimits, JobResources, key_of, opened
from aarlab.sandbox.sandbox import MIB

AT_MOST_S = 60.0  # for each job of the examination
MANY, BEGINS_S = 8, 1.0  # jobs that are cancelled, once some have begun
LOOK_S = 5.0  # between two looks at whether a job has ended; its end is seen at once


class Engine(Protocol):
    """Places jobs. Every method may be called from several threads."""

    def submit(self, job: Job, resources: JobResources) -> str:
        """Have a job run; returns its key. One that is running already is not started twice: each
        that submitted it may poll it.

        Raises:
            Transient: it cannot be placed now.
            Misconfigured: it can never be placed here.
        """
        ...

    def poll(self, key: str, wait_s: float = 0.0) -> bytes | None:
        """What `run_jobs.opened` reads, once for each `submit`; None while it runs or waits.

        Raises:
            Transient: it was lost and may be submitted again; or cancelled.
        """
        ...

    def cancel(self, key: str) -> None:
        """Take one `submit` back; the job ends when nobody waits for it."""
        ...

    def close(self) -> None:
        """End all that runs."""
        ...


@runtime_checkable
class DeviceEngine(Engine, Protocol):
    """An engine that runs jobs with `strong` beside a device, which one worker owns for many of
    them."""

    def counted(self, key: str) -> DeviceCount | None:
        """What the job's latest attempt has used of a device; None where nothing is known."""
        ...

    def allow(self, key: str, attempt: str, seconds: float | None) -> None:
        """How much that attempt may use; None: there is no limit."""
        ...


def shell(words: str, name: str, timeout_s: float = 20.0, **files: str) -> Job:
    """A small job of a shell, which leaves the file `result`."""
    limits = JobLimits(
        timeout_s=timeout_s,
        memory_bytes=512 * MIB,
        file_bytes=8 * MIB,
        output_bytes=64 << 10,
        disk_bytes=64 * MIB,
        together_bytes=512 * MIB,
    )
    argv = ("/bin/sh", "-c", f"touch begun; {words}")
    return Job(
        name=name,
        key=key_of("examination", name, words),
        code=whole_code().digest,
        files={"note.txt": "code", **files},
        folders={},
        argv=argv,
        env={"HOME": "/tmp"},
        limits=limits,
        result="result",
        begun="begun",
    )


def ended(engine: Engine, key: str) -> bytes:
    """Wait for a job that was submitted; where that is given up, the job is cancelled.

    Raises:
        Transient: see `Engine`.
    """
    try:
        while (found := engine.poll(key, LOOK_S)) is None:
            pass
    except AarError:
        raise
    except BaseException:
        engine.cancel(key)
        raise
    return found


def finished(engine: Engine, job: Job, resources: JobResources | None = None) -> bytes:
    """Submit a job and wait for its end.

    Raises:
        Transient: see `Engine`; or it did not end in AT_MOST_S beyond its own limit.
    """
    key = engine.submit(job, resources or JobResources())
    found = engine.poll(key, job.limits.timeout_s + AT_MOST_S)
    if found is None:
        engine.cancel(key)
        raise Transient(f"The job {job.name} did not end. Look at the engine.")
    return found


def check_engine(engine: Engine, secrets: Sequence[str] = ()) -> list[str]:
    """Examine an engine: what it does wrong, one sentence each; empty if nothing. `secrets`: texts
    (tokens, paths of sockets) that no job may see in its environment or files."""
    faults: list[str] = []
    for name, check in (
        ("result", _gives_bytes_back),
        ("none", _says_that_there_is_none),
        ("limit", _holds_the_wall_limit),
        ("link", _reads_no_link),
        ("twice", _answers_both),
        ("refusal", _passes_refusals_on),
        ("sight", lambda engine: _sees_nothing(engine, secrets)),
        ("cancel", _cancels),
    ):
        try:
            faults += [f"{name}: {words}" for words in check(engine)]
        except Transient as error:
            faults.append(f"{name}: {error}")
    return faults


def _gives_bytes_back(engine: Engine) -> list[str]:
    head, result = opened(finished(engine, shell("printf 'a\\000b' > result; echo out", "bytes")))
    good = (head.returncode, head.output.strip(), head.begun, result)
    return [] if good == (0, "out", True, b"a\0b") else [f"a job's end came back as {good}"]


def _says_that_there_is_none(engine: Engine) -> list[str]:
    head, result = opened(finished(engine, shell("exit 3", "no result")))
    found = (head.returncode, result, head.misshapen)
    return [] if found == (3, None, False) else [f"a job without a result came back as {found}"]


def _holds_the_wall_limit(engine: Engine) -> list[str]:
    job = shell("sleep 300", "endless", timeout_s=2.0)
    head, _ = opened(finished(engine, job))
    return [] if head.timed_out and head.wall_s < 20 else ["its wall limit of 2 s did not hold"]


def _reads_no_link(engine: Engine) -> list[str]:
    head, result = opened(finished(engine, shell("ln -s /etc/passwd result", "link")))
    return [] if head.misshapen and result is None else ["it read a link that a job left"]


def _answers_both(engine: Engine) -> list[str]:
    job = shell("sleep 1; printf x > result", "twice")
    keys = [engine.submit(job, JobResources()) for _ in range(2)]
    found = [engine.poll(key, AT_MOST_S) for key in keys]
    if keys[0] != keys[1] or None in found:
        return ["two who submitted the same job were not both answered"]
    return (
        []
        if {opened(one or b"")[1] for one in found} == {b"x"}
        else ["both were answered, not alike"]
    )


def _cancels(engine: Engine) -> list[str]:
    jobs = [shell("sleep 300", f"cancelled {n}", 2 * AT_MOST_S) for n in range(MANY)]
    keys = [engine.submit(job, JobResources()) for job in jobs]
    engine.poll(keys[0], BEGINS_S)
    faults = []
    for key in keys:
        engine.cancel(key)
        with suppress(Transient):
            faults = [f"a cancelled job came back as {engine.poll(key, 0.1)!r:.60}"]
    # those that go on to their limit, in an engine of at most as many at once, keep it out
    finished(engine, shell("true", "after those that were cancelled", 5.0))
    return faults


def _passes_refusals_on(engine: Engine) -> list[str]:
    try:
        opened(finished(engine, shell("true", "escape", **{"../escape.py": "x"})))
    except InvalidSubmission as error:
        return [] if "leads outside" in str(error) else [f"a refusal came back as {error}"]
    return ["code that leads outside its folder was written"]


def _sees_nothing(engine: Engine, secrets: Sequence[str]) -> list[str]:
    words = (
        "{ env; ls -a /tmp /run /; cat /proc/*/environ; cat /proc/net/unix /proc/net/tcp; } "
        "> result 2>/dev/null; true"
    )
    _, result = opened(finished(engine, shell(words, "sight")))
    seen = (result or b"").decode(errors="replace")
    if not seen:
        return ["the job that looks round left nothing"]
    return [f"a job sees {secret[:12]}..." for secret in secrets if secret in seen]
