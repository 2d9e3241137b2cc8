"""Losses on logits on a card: loss, statistics, gradients and second derivatives against float64; CUDA graphs."""

from __future__ import annotations

import pytest
import torch

from kernels.discriminator_losses import discriminator_losses
from tests.helpers.losses_cases import CASES, assert_close_to_float64

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("case", CASES, ids=str)
def test_losses_match_float64_to_second_order(case):
    assert_close_to_float64(case, "triton", "cuda")


def test_a_cuda_graph_replays_the_losses():
    real = torch.randn(512, device="cuda", requires_grad=True)
    fake, family = torch.randn(512, device="cuda"), torch.zeros(512, dtype=torch.int64, device="cuda")

    def call() -> torch.Tensor:
        loss, _ = discriminator_losses(real, fake, family, n_families=3)
        return torch.autograd.grad(loss, real)[0]

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = call()
    with torch.no_grad():
        real.mul_(-0.5)
    graph.replay()
    assert torch.equal(captured, call())
