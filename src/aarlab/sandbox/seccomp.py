"""A filter of system calls for what namespaces do not keep apart, in the kernel's own format, which
bwrap loads.

Refused are kinds of sockets that no network namespace holds (AF_VSOCK reaches a virtual machine's
host), kernel keys, BPF, performance counters, userfaultfd, io_uring, the kernel's log, mounts and
modules, and typing into a terminal. docker's own filter refuses nearly the same, so programs know
how to go on without them. Where the disk is only watched, fallocate and its ioctls are answered
with "not supported", so that programs write instead, for which a watch is fast enough. Where the
machine is neither x86-64 nor AArch64 there is no filter.
"""

import errno
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass

# BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET|K
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
# in struct seccomp_data, little-endian
NUMBER_AT, ARCH_AT, FIRST_ARGUMENT_AT, SECOND_ARGUMENT_AT = 0, 4, 16, 24
ALLOW, REFUSE = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
X32 = 0x40000000  # system calls of another numbering
# AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: each in a network namespace of the sandbox's own
FAMILIES = (1, 2, 10, 16)
TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
# FS_IOC_RESVSP, FS_IOC_RESVSP64, FS_IOC_ZERO_RANGE
ALLOCATES = (0x40305828, 0x4030582A, 0x40305839)
NEW = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
}
# the same everywhere
NEW |= {"fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442}


@dataclass(frozen=True)
class Machine:
    """The numbers of one architecture."""

    audit: int  # AUDIT_ARCH_…
    socket: int
    ioctl: int
    fallocate: int
    refused: dict[str, int]


MACHINES = {
    "x86_64": Machine(
        0xC000003E, 41, 16, 285,
        NEW | {
            "add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "perf_event_open": 298,
            "userfaultfd": 323,
            "syslog": 103, "mount": 165, "umount2": 166, "pivot_root": 155,
            "open_by_handle_at": 304, "kcmp": 312,
            "init_module": 175, "finit_module": 313, "delete_module": 176, "kexec_load": 246,
            "kexec_file_load": 320,
            "swapon": 167, "reboot": 169, "acct": 163, "quotactl": 179,
        },
    ),
    "aarch64": Machine(
        0xC00000B7, 198, 29, 47,
        NEW | {
            "add_key": 217, "request_key": 218, "keyctl": 219, "bpf": 280, "perf_event_open": 241,
            "userfaultfd": 282,
            "syslog": 116, "mount": 40, "umount2": 39, "pivot_root": 41, "open_by_handle_at": 265,
            "kcmp": 272,
            "init_module": 105, "finit_module": 273, "delete_module": 106, "kexec_load": 104,
            "kexec_file_load": 294,
            "swapon": 224, "reboot": 142, "acct": 89, "quotactl": 60,
        },
    ),
}  # fmt: skip


def program(machine: str | None = None, *, allocates: bool = False) -> bytes | None:
    """The filter as an array of struct sock_filter, 8 bytes each; None where this machine's numbers
    are not known. `allocates`: room on the disk may be had without writing, for its limit is the
    kernel's."""
    numbers = MACHINES.get(machine or platform.machine())
    return (
        None
        if numbers is None
        else b"".join(struct.pack("<HBBI", *one) for one in _instructions(numbers, allocates))
    )


def _instructions(machine: Machine, allocates: bool) -> Iterator[tuple[int, int, int, int]]:
    """(code, jump if true, jump if false, operand) of each."""
    yield LOAD, 0, 0, ARCH_AT
    yield EQUAL, 1, 0, machine.audit
    yield RETURN, 0, 0, REFUSE | errno.ENOSYS
    yield LOAD, 0, 0, NUMBER_AT
    yield AT_LEAST, 0, 1, X32
    yield RETURN, 0, 0, REFUSE | errno.ENOSYS
    for name, number in machine.refused.items():
        yield EQUAL, 0, 1, number
        yield RETURN, 0, 0, REFUSE | (errno.ENOSYS if name.startswith("io_uring") else errno.EPERM)
    if not allocates:
        yield EQUAL, 0, 1, machine.fallocate
        yield RETURN, 0, 0, REFUSE | errno.EOPNOTSUPP
    yield EQUAL, 0, len(FAMILIES) * 2 + 2, machine.socket
    yield LOAD, 0, 0, FIRST_ARGUMENT_AT
    for family in FAMILIES:
        yield EQUAL, 0, 1, family
        yield RETURN, 0, 0, ALLOW
    yield RETURN, 0, 0, REFUSE | errno.EAFNOSUPPORT
    requests = dict.fromkeys(TERMINAL, errno.EPERM) | (
        {} if allocates else dict.fromkeys(ALLOCATES, errno.EOPNOTSUPP)
    )
    yield EQUAL, 0, len(requests) * 2 + 1, machine.ioctl
    yield LOAD, 0, 0, SECOND_ARGUMENT_AT
    for request, answer in requests.items():
        yield EQUAL, 0, 1, request
        yield RETURN, 0, 0, REFUSE | answer
    yield RETURN, 0, 0, ALLOW
