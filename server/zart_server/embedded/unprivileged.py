"""Runs a program as a child that ends with its parent, and never as root: PostgreSQL refuses root.

``python unprivileged.py PARENT_PID PROGRAM ARGUMENT...``. Run by root, the program becomes
``nobody`` but keeps the right to pass through folders that are closed to others: a checkout under
/root or a private temporary folder works, and no folder has to be opened for it. A program of its
own, since nothing else is safe between fork and exec.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

NOBODY = 65534
_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_NO_SETUID_FIXUP = 4
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _become_nobody(libc: ctypes.CDLL) -> None:
    # Keeps the capability through the change of user, and access(2) heeds it.
    libc.prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    mask = 1 << _CAP_DAC_OVERRIDE
    sets = (_Sets * 2)(_Sets(mask, mask, mask), _Sets(0, 0, 0))
    # Without the capability (a bare container) this fails, and open folders still work.
    libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), ctypes.byref(sets))
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def _main(parent: int, program: list[str]) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if os.geteuid() == 0:
            _become_nobody(libc)
        # After the change of user, which clears it.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
    if os.getppid() != parent:
        return  # it died before the signal was set
    os.execv(program[0], program)  # noqa: S606 - the program is ours to choose


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2:])
