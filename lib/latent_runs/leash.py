"""Processes that end with the one that started them, however that ends. Linux only: elsewhere nothing is done."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before a fork


def end_with(parent: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Have this process sent `how` when `parent`, which started it, ends, or now if it has."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, int(how))
        if os.getppid() != parent:
            os.kill(os.getpid(), how)


def leash(how: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """`preexec_fn` for a process that is to end with this one."""
    parent = os.getpid()
    return lambda: end_with(parent, how)
