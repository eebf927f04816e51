"""What a process that reads files may still do: read and write its socket, think, and end.

No further file can be opened, nothing connected, started, renamed or deleted, and no signal sent to
another process. On Linux on x86-64 and ARM64 the system refuses every call that is not on a list
(seccomp); elsewhere the limit on open files is what stands.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

CPU_S = 600
"""Most seconds of processor time of one process."""

_SET_PDEATHSIG, _SET_DUMPABLE, _SET_SECCOMP, _SET_NO_NEW_PRIVS = 1, 4, 22, 38
_FILTER = 2
_CLONE_THREAD = 0x10000

_CALLS = {
    "x86_64": (
        0xC000003E,
        {
            "read": 0, "write": 1, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "lseek": 8,
            "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13,
            "rt_sigprocmask": 14, "rt_sigreturn": 15, "ioctl": 16, "readv": 19, "writev": 20,
            "sched_yield": 24, "mremap": 25, "madvise": 28, "nanosleep": 35, "getpid": 39,
            "sendto": 44, "recvfrom": 45, "clone": 56, "exit": 60, "kill": 62, "uname": 63,
            "fcntl": 72, "gettimeofday": 96, "getrlimit": 97, "getrusage": 98, "sysinfo": 99,
            "getppid": 110, "sigaltstack": 131, "gettid": 186, "time": 201, "futex": 202,
            "sched_getaffinity": 204, "set_tid_address": 218, "restart_syscall": 219,
            "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231,
            "tgkill": 234, "newfstatat": 262, "set_robust_list": 273, "prlimit64": 302,
            "getrandom": 318, "membarrier": 324, "statx": 332, "rseq": 334,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "fcntl": 25, "ioctl": 29, "close": 57, "lseek": 62, "read": 63, "write": 64,
            "readv": 65, "writev": 66, "newfstatat": 79, "fstat": 80, "exit": 93, "exit_group": 94,
            "set_tid_address": 96, "futex": 98, "set_robust_list": 99, "nanosleep": 101,
            "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115,
            "sched_getaffinity": 123, "sched_yield": 124, "restart_syscall": 128, "kill": 129,
            "tgkill": 131, "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135,
            "rt_sigreturn": 139, "uname": 160, "getrlimit": 163, "getrusage": 165,
            "gettimeofday": 169, "getpid": 172, "getppid": 173, "gettid": 178, "sysinfo": 179,
            "sendto": 206, "recvfrom": 207, "brk": 214, "munmap": 215, "mremap": 216, "clone": 220,
            "mmap": 222, "mprotect": 226, "madvise": 233, "prlimit64": 261, "getrandom": 278,
            "membarrier": 283, "statx": 291, "rseq": 293,
        },
    ),
}  # fmt: skip
"""Machine → how the system names it to a filter (linux/audit.h), and the numbers of the calls that
are allowed (asm/unistd.h): memory, threads, clocks, the socket, and looking whether a file is
there, as Python does before it takes a module that is loaded already."""


class Sealed(BaseException):
    """Something was to be opened that was not loaded before: a fault of ours, not of a file."""


def enter(parent: int, connection: int) -> int | None:
    """Give up whatever is not needed any more; it cannot be had again.

    Args:
        parent: process id of the one that forked this one, which it does not outlive.
        connection: the file that stays open.

    Returns:
        The bytes of address space that are taken; None where the system does not tell.
    """
    _close_all_but(connection)
    with suppress(OSError):  # where memory runs out the system is to take this process first
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    taken = None
    with suppress(OSError):
        taken = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(what, (most, most))
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
        libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    sys.addaudithook(_refuse)
    if sys.platform == "linux" and platform.machine() in _CALLS:
        _filter(libc, *_CALLS[platform.machine()])
    return taken


def _close_all_but(connection: int) -> None:
    """Standard input to error stay, at nothing."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.closerange(3, connection)
    os.closerange(connection + 1, max(connection + 1, os.sysconf("SC_OPEN_MAX")))


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" or (event == "import" and arguments[1]):
        raise Sealed(f"{event} of {Path(str(arguments[0])).name}")


def _filter(libc: ctypes.CDLL, machine: int, calls: dict[str, int]) -> None:
    """Let the system answer every other call as if there were none such (ENOSYS).

    Signals go to this process alone, and what is cloned are threads.
    """
    load, equal, any_of, give = 0x20, 0x15, 0x45, 0x06  # BPF: LD W ABS, JEQ, JSET, RET (K)
    number_at, machine_at, argument_at = 0, 4, 16  # struct seccomp_data; low half of the first
    allow, kill, none_such = 0x7FFF0000, 0x80000000, 0x00050000 | 38
    steps = [
        (load, 0, 0, machine_at),
        (equal, 1, 0, machine),
        (give, 0, 0, kill),
        (load, 0, 0, number_at),
    ]
    for name, number in calls.items():
        if name in ("kill", "tgkill", "clone"):
            own = (any_of, 0, 1, _CLONE_THREAD) if name == "clone" else (equal, 0, 1, os.getpid())
            steps += [(equal, 0, 4, number), (load, 0, 0, argument_at), own]
            steps += [(give, 0, 0, allow), (give, 0, 0, none_such)]
        else:
            steps += [(equal, 0, 1, number), (give, 0, 0, allow)]
    steps.append((give, 0, 0, none_such))
    packed = b"".join(struct.pack("=HBBI", *step) for step in steps)
    code = ctypes.create_string_buffer(packed, len(packed))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    libc.prctl(_SET_SECCOMP, _FILTER, ctypes.c_char_p(program), 0, 0)
