"""A forked child computes with one thread.

The threads that PyTorch has started do not exist in a child made by fork (multiprocessing's "fork" pools): its first large
operation would wait for them for ever. With one thread none is needed. `torch.set_num_threads` in the child takes more.
"""

from __future__ import annotations

import os

import torch


def _one_thread() -> None:
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_thread)
