"""The device a stage computes on."""

from __future__ import annotations

import torch


def choose_device(wanted: str, name: str) -> torch.device:
    """The device that 'auto', 'cpu' or 'cuda' means here. name: of the parameter, for the error.

    Raises ValueError for 'cuda' where there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"'{name}' must be cpu or auto where there is no CUDA device. Got 'cuda'.")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)
