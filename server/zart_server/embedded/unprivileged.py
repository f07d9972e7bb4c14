"""Runs a program as a child that ends with its parent, and never as root: PostgreSQL refuses root.

``python unprivileged.py PARENT_PID PROGRAM ARGUMENT...``. Run by root, the program becomes
``nobody``, without a capability and without a way to gain one. A program of its own, since nothing
else is safe between fork and exec.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import signal
import sys
from pathlib import Path

NOBODY = 65534
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000


def _become_nobody() -> None:
    """Give up everything that root has: the change of user clears all capabilities."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def _take_a_name(libc: ctypes.CDLL) -> None:
    """Make a user without a name, as containers are given, known to the program by another's.

    initdb asks for its user's name, and has no use for it. In a namespace of users the same user
    has the number of somebody who has a name; files are its own as before. Where such namespaces
    are forbidden nothing changes, and initdb says what it misses.
    """
    user, group = os.geteuid(), os.getegid()
    named = next((one.pw_uid for one in pwd.getpwall() if one.pw_uid != 0), NOBODY)
    if libc.unshare(_CLONE_NEWUSER) == 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{named} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _has_name(user: int) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwuid(user).pw_name)
    return False


def _main(parent: int, program: list[str]) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if os.geteuid() == 0:
            _become_nobody()
        elif not _has_name(os.geteuid()):
            _take_a_name(libc)
        # No program that is another user's on being run (sudo) helps it from here on.
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # After the change of user, which clears it.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
    if os.getppid() != parent:
        return  # it died before the signal was set
    os.execv(program[0], program)  # noqa: S606 - the program is ours to choose


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2:])
