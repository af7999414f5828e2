"""Blocks network access of this process, below every library.

A hostile model's settings can make a library connect: transformers looks up any repository that
they name. `HF_HUB_OFFLINE` affects only one library. A seccomp filter is enforced by the kernel,
needs no privileges, works in containers and cannot be removed.

Source: https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html and seccomp(2).
"""

import ctypes
import errno
import platform
import socket
import struct
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1
# TSYNC (1) applies the filter to all threads. SPEC_ALLOW (4) keeps speculation on, which kernels
# before 5.16 would otherwise turn off for the whole process.
_FLAGS = 1 | 4
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000
# Both are the same on every architecture.
_IO_URING_SETUP = 425
_X32_ABI = 0x40000000

# Instructions of the filter: load a word of the system call, compare it, return.
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
# Offsets of the call's number, architecture and first argument in struct seccomp_data.
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16


@dataclass(frozen=True)
class _Machine:
    """The numbers of system calls: `asm/unistd.h`, `linux/audit.h`."""

    audit: int
    socket: int
    seccomp: int


_MACHINES = {
    "x86_64": _Machine(audit=0xC000003E, socket=41, seccomp=317),
    "aarch64": _Machine(audit=0xC00000B7, socket=198, seccomp=277),
}


class NoNetworkFilterError(Exception):
    """The kernel does not accept a filter."""


def forbid_network(*, local_sockets: bool = False) -> None:
    """Makes every later attempt of this process to open a socket fail with EACCES.

    Open pipes keep working. Children and threads inherit the filter, and it cannot be removed.

    Args:
        local_sockets: Allow Unix sockets, which GPU drivers need to reach services of the machine.

    Raises:
        NoNetworkFilterError: The system has no seccomp.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None or platform.system() != "Linux":
        raise NoNetworkFilterError(f"{platform.system()} on {platform.machine()}")
    program = _program(machine, local_sockets=local_sockets)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise NoNetworkFilterError(errno.errorcode.get(ctypes.get_errno(), "unknown"))
    instructions = ctypes.create_string_buffer(program, len(program))
    count = len(program) // 8
    # struct sock_fprog, padded for the alignment of the pointer.
    header = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", count, ctypes.addressof(instructions))
    )
    number = ctypes.c_long(machine.seccomp)
    if libc.syscall(number, _SECCOMP_SET_MODE_FILTER, _FLAGS, ctypes.byref(header)) != 0:
        raise NoNetworkFilterError(errno.errorcode.get(ctypes.get_errno(), "unknown"))


def _program(machine: _Machine, *, local_sockets: bool) -> bytes:
    """Returns the filter's instructions, 8 bytes each."""
    family = socket.AF_UNIX if local_sockets else -1 & 0xFFFFFFFF
    refuse, allow = 8, 9
    steps = [
        (_LOAD, None, None, _ARCHITECTURE),
        (_EQUAL, 2, refuse, machine.audit),  # a call of the 32-bit ABI has other numbers
        (_LOAD, None, None, _NUMBER),
        (_AT_LEAST, refuse, 4, _X32_ABI),
        (_EQUAL, refuse, 5, _IO_URING_SETUP),  # it opens sockets without a system call
        (_EQUAL, 6, allow, machine.socket),
        (_LOAD, None, None, _FIRST_ARGUMENT),
        (_EQUAL, allow, refuse, family),
        (_RETURN, None, None, _REFUSE | errno.EACCES),
        (_RETURN, None, None, _ALLOW),
    ]
    return b"".join(
        struct.pack(
            "HBBI",
            code,
            0 if hit is None else hit - at - 1,
            0 if miss is None else miss - at - 1,
            value,
        )
        for at, (code, hit, miss, value) in enumerate(steps)
    )
