"""A process that ends with the one that started it (Linux): `kill -9` of a flow or of dvc leaves no orphan at work."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
# Read when the package is imported, before the seconds that importing torch takes: a parent may die during those.
STARTED_BY = os.getppid()


def die_with_parent(parent: int = STARTED_BY) -> None:
    """Asks the kernel to send SIGTERM to this process when its parent dies, and sends it when `parent` is gone already.

    parent: process number of the parent at the start. Does nothing off Linux.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
