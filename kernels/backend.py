"""Which implementation of an operation runs: an explicit choice that never falls back."""

from __future__ import annotations

import os
from importlib.util import find_spec

import torch

BACKENDS = ("auto", "reference", "triton")
HAS_TRITON = find_spec("triton") is not None  # asked once: torch.compile does not trace the question


def check_backend(backend: str, device: torch.device) -> str:
    """The backend to run, "reference" or "triton". Raises RuntimeError where "triton" cannot run."""
    if backend not in BACKENDS:
        raise ValueError(f"'backend' must be one of {', '.join(BACKENDS)}. Got {backend!r}.")
    if backend == "auto":
        backend = "triton" if device.type == "cuda" else "reference"
    if backend == "triton":
        if not HAS_TRITON:
            raise RuntimeError("Backend 'triton' needs the package triton, which is not installed. Choose 'reference'.")
        if device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
            raise RuntimeError("Backend 'triton' needs tensors on a GPU. Got device cpu; choose 'auto' or 'reference'.")
    return backend
