"""The filter of system calls: interpreted by hand for each architecture, and loaded by the
kernel."""

import ctypes
import errno
import platform
import re
import struct
import sys
from pathlib import Path

import pytest

from aarlab.sandbox import Bubblewrap, seccomp
from aarlab.sandbox.sandbox import Limits, SandboxSpec

HEADERS = {
    "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "aarch64": "/usr/include/asm-generic/unistd.h",
}
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def answer(program: bytes, number: int, audit: int, *arguments: int) -> int:
    """What the filter answers: an errno, or 0 for yes. The four instructions that it uses, as the
    kernel's BPF defines them."""
    data = struct.pack("<IIQ6Q", number, audit, 0, *arguments, *([0] * (6 - len(arguments))))
    at = accumulator = 0
    while True:
        code, yes, no, operand = struct.unpack_from("<HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, operand)[0]
        elif code == 0x15:
            at += yes if accumulator == operand else no
        elif code == 0x35:
            at += yes if accumulator >= operand else no
        else:
            assert code == 0x06
            return 0 if operand == 0x7FFF0000 else operand & 0xFFFF


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_each_answer_is_right(machine):
    numbers, audit = seccomp.MACHINES[machine], AUDIT[machine]
    program = seccomp.program(machine)
    for name, number in numbers.refused.items():
        assert answer(program, number, audit) == (
            errno.ENOSYS if "io_uring" in name else errno.EPERM
        ), name
    assert answer(program, numbers.fallocate, audit) == errno.EOPNOTSUPP
    assert {answer(program, numbers.ioctl, audit, 0, r) for r in seccomp.ALLOCATES} == {
        errno.EOPNOTSUPP
    }
    free = seccomp.program(machine, allocates=True)  # where the kernel holds the disk's limit
    assert (
        answer(free, numbers.fallocate, audit)
        == answer(free, numbers.ioctl, audit, 0, seccomp.ALLOCATES[0])
        == 0
    )
    assert answer(free, numbers.ioctl, audit, 0, 0x5412) == errno.EPERM
    others = set(range(500)) - set(numbers.refused.values()) - {numbers.socket, numbers.fallocate}
    assert {answer(program, number, audit) for number in others} == {0}
    families = {family: answer(program, numbers.socket, audit, family) for family in range(46)}
    assert {f for f, said in families.items() if said == 0} == {1, 2, 10, 16}
    assert set(families.values()) == {0, errno.EAFNOSUPPORT}
    assert answer(program, numbers.ioctl, audit, 0, 0x5412) == errno.EPERM
    assert answer(program, numbers.ioctl, audit, 0, 0x5401) == 0
    assert answer(program, 0, audit ^ 1) == answer(program, 0x40000000, audit) == errno.ENOSYS


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_numbers_are_those_of_the_kernels_headers(machine):
    if not Path(HEADERS[machine]).exists():
        pytest.skip("the kernel's headers are not installed")
    known = {
        m[1]: int(m[2])
        for m in re.finditer(r"__NR(?:3264)?_(\w+)\s+(\d+)", Path(HEADERS[machine]).read_text())
    }
    numbers = seccomp.MACHINES[machine]
    ours = numbers.refused | {
        "socket": numbers.socket,
        "ioctl": numbers.ioctl,
        "fallocate": numbers.fallocate,
    }
    assert ours == {name: known[name] for name in ours}


def test_an_unknown_machine_has_no_filter():
    assert seccomp.program("riscv64") is None


VSOCK = "import socket; socket.socket(40, socket.SOCK_STREAM); print('opened')"


@pytest.mark.process
@pytest.mark.skipif(seccomp.program() is None, reason=f"no filter for {platform.machine()}")
def test_the_kernel_holds_it(monkeypatch):
    box = Bubblewrap(SandboxSpec("s", ()))
    status = box.exec(["/bin/grep", "Seccomp:", "/proc/self/status"], Limits(20)).output.split()
    assert status == ["Seccomp:", "2"]
    keyctl = seccomp.MACHINES[platform.machine()].refused["keyctl"]
    code = (
        f"import ctypes; c = ctypes.CDLL(None, use_errno=True); print(c.syscall({keyctl}, 0, -3, "
        "1), ctypes.get_errno())"
    )
    assert box.exec([sys.executable, "-c", code], Limits(20)).output.split() == ["-1", "1"]
    assert ctypes.CDLL(None).syscall(keyctl, 0, -3, 1) != 1  # it exists outside
    assert "not supported" in box.exec([sys.executable, "-c", VSOCK], Limits(20)).output
    monkeypatch.setattr(seccomp, "program", lambda **_: None)
    assert (
        "Seccomp:\t0" in box.exec(["/bin/grep", "Seccomp:", "/proc/self/status"], Limits(20)).output
    )  # so the question can fail
    box.close()
