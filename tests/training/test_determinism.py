"""Same seed, same result: the step under PyTorch's deterministic algorithms, on a CPU and on a GPU."""

from __future__ import annotations

import pytest
import torch

from tests.helpers.training_case import random_batch, training_step


@pytest.fixture
def deterministic(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def weights_after(steps: int, device: str) -> torch.Tensor:
    """Both networks' weights after a few steps with mismatched rows and both penalties."""
    state = training_step("auto", device)
    for step in range(steps):
        state(random_batch(16, seed=step).to(torch.device(device)), step, 7 + step)
    return torch.cat([state.flat_g.values, state.flat_d.values, state.flat_average.values])


def test_every_operation_has_a_deterministic_form(deterministic):
    """An operation without one raises RuntimeError here."""
    assert torch.equal(weights_after(3, "cpu"), weights_after(3, "cpu"))


@pytest.mark.gpu
def test_a_gpu_repeats_itself_bit_by_bit(deterministic):
    assert torch.equal(weights_after(20, "cuda"), weights_after(20, "cuda"))
