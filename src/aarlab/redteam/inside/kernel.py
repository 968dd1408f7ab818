"""The kernel: its settings, mounts and name spaces, set-uid programs, devices, keys, rare system
calls, shared memory."""

import ctypes
import errno
import glob
import os
import stat
import subprocess

from aarlab.redteam.inside import Hints, program, say, trying

_C = ctypes.CDLL(None, use_errno=True)
SETTINGS = (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/sysrq",
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory",
    "/proc/sys/fs/binfmt_misc/register",
    "/sys/kernel/uevent_helper", "/sys/fs/cgroup/memory/release_agent",
    "/sys/fs/cgroup/cgroup.procs", "/proc/kcore",
    "/dev/mem", "/dev/kmem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/nvme0n1",
)  # fmt: skip
CALLS = {
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219), "add_key": (248, 217), "kexec_load": (246, 104),
    "init_module": (175, 105),
    "open_by_handle_at": (304, 265), "syslog": (103, 116), "fsopen": (430, 430),
    "open_tree": (428, 428),
}  # fmt: skip
NEWNS, NEWUSER, NEWNET, NEWPID = 0x20000, 0x10000000, 0x40000000, 0x20000000
USUAL = {
    "null",
    "zero",
    "full",
    "random",
    "urandom",
    "tty",
    "ptmx",
    "console",
    "stdin",
    "stdout",
    "stderr",
    "fd",
    "core",
}


@program("settings of the kernel")
def settings(hints: Hints) -> None:
    """Opened for writing, and nothing written: core_pattern alone would be a program run by the
    host's root."""
    for path in SETTINGS:
        with trying():
            os.close(os.open(path, os.O_WRONLY))
            say("opened for writing:", path)
    with trying(), open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")
        file.flush()
        say("made itself unkillable for want of memory")


@program("mounts and name spaces")
def mounts(hints: Hints) -> None:
    """Remounting what is read-only, mounting proc, tmpfs and control groups, new name spaces,
    chroot."""
    home = hints["home"].encode()
    tries = [
        ("remount / writable", b"none", b"/", None, 32),
        ("remount the data writable", b"none", hints["data"].encode(), None, 32 | 4096),
        ("bind / at home", b"/", home, None, 4096),
        ("proc", b"proc", home, b"proc", 0),
        ("tmpfs", b"tmpfs", home, b"tmpfs", 0),
        ("control groups", b"cgroup", home, b"cgroup", 0),
        ("the disk", b"/dev/vda", home, b"ext4", 0),
    ]
    for words, source, target, kind, flags in tries:
        if _C.mount(source, target, kind, flags, None) == 0:
            say("mounted:", words)
    if _C.umount2(hints["data"].encode(), 2) == 0:
        say("unmounted the data")
    for words, flag in (("user", NEWUSER), ("mount", NEWNS), ("net", NEWNET), ("pid", NEWPID)):
        if os.fork() == 0:
            if _C.unshare(flag) == 0:
                say("new name space:", words)
            os._exit(0)
        os.wait()
    with trying():
        os.chroot(hints["home"])
        say("changed its root")


@program("becoming root")
def root(hints: Hints) -> None:
    """setuid(0), the system's set-uid programs, one of its own, capabilities."""
    for words, change in (("uid", os.setuid), ("gid", os.setgid)):
        with trying():
            change(0)
            say("became 0:", words)
    with trying():
        os.setgroups([0])
        say("joined group 0")
    for tool in ("/usr/bin/su", "/usr/bin/sudo", "/usr/bin/pkexec", "/usr/bin/newuidmap"):
        with trying():
            done = subprocess.run(
                [tool, "-c", "id"],
                capture_output=True,
                timeout=5,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            say(tool, done.stdout)
    with trying(), open("/proc/self/status") as file:
        for line in file:
            if line.startswith(("CapEff", "CapBnd", "NoNewPrivs")):
                say(line.strip())


@program("devices")
def devices(hints: Hints) -> None:
    """Device nodes made, and those that are there beyond the harmless."""
    for name, kind, number in (
        ("disk", stat.S_IFBLK, (254, 0)),
        ("mem", stat.S_IFCHR, (1, 1)),
        ("vsock", stat.S_IFCHR, (10, 258)),
    ):
        path = f"{hints['home']}/{name}"
        with trying():
            os.mknod(path, kind | 0o666, os.makedev(*number))
            say("made", path)
            with open(path, "rb") as file:
                say("opened", path, file.read(1))
    for path in glob.glob("/dev/**", recursive=True):
        with trying():
            mode = os.stat(path).st_mode
            if (
                (stat.S_ISCHR(mode) or stat.S_ISBLK(mode))
                and os.path.basename(path) not in USUAL
                and "/pts/" not in path
            ):
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
                say("opened device", path)


@program("rarely used system calls")
def calls(hints: Hints) -> None:
    """Those behind many of the kernel's holes. Reached is a call that fails for its arguments and
    not for being refused."""
    column = 0 if os.uname().machine == "x86_64" else 1
    for name, numbers in CALLS.items():
        ctypes.set_errno(0)
        if name == "syslog":
            size = _C.syscall(numbers[column], 10, 0, 0)
            code = ctypes.get_errno() if size < 0 else 0
        else:
            code = ctypes.get_errno() if _C.syscall(numbers[column], 0, 0, 0, 0, 0) < 0 else 0
        if code not in {errno.EPERM, errno.ENOSYS}:
            say("reached:", name, os.strerror(code))


@program("kernel keys")
def keys(hints: Hints) -> None:
    """The key rings of the session, the user and the process; one key was put into the host's."""
    column = 0 if os.uname().machine == "x86_64" else 1
    request, keyctl = (249, 250) if column == 0 else (218, 219)
    for ring in range(-5, 0):
        found = _C.syscall(keyctl, 10, ring, b"user", hints["key"].encode(), 0)  # KEYCTL_SEARCH
        found = (
            found if found > 0 else _C.syscall(request, b"user", hints["key"].encode(), None, ring)
        )
        if found > 0:
            text = ctypes.create_string_buffer(256)
            _C.syscall(keyctl, 11, found, text, 256)  # KEYCTL_READ
            say("key", text.value)
    for path in ("/proc/keys", "/proc/key-users"):
        with trying(), open(path) as file:
            say(path, file.read(4096))


@program("shared memory and queues")
def shared(hints: Hints) -> None:
    """System V and POSIX shared memory of the host's, open to all there."""
    _C.shmat.restype = ctypes.c_void_p
    for identity in {hints["sysv"], _C.shmget(hints["sysv_key"], 0, 0), *range(64)}:
        at = _C.shmat(identity, None, 0o10000) if identity >= 0 else None
        if at and at != ctypes.c_void_p(-1).value:
            say("segment", identity, ctypes.string_at(at, 64))
    for path in (
        glob.glob("/dev/shm/*") + glob.glob("/dev/mqueue/*") + [f"/dev/shm/{hints['posix']}"]
    ):
        with trying(), open(path, "rb") as file:
            say(path, file.read(64))
    for path in ("/proc/sysvipc/shm", "/proc/sysvipc/msg", "/proc/sysvipc/sem"):
        with trying(), open(path) as file:
            rows = file.readlines()[1:]
            if rows:
                say("sees", path, rows[:3])
