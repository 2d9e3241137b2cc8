"""Masked attention on a card: every kernel against float64 in each dtype, training steps, graphs, compilation."""

from __future__ import annotations

import pytest
import torch

from kernels.masked_attention import make_packing, masked_self_attention
from tests.helpers.attention_cases import Case, assert_within_budget, derivatives, errors

pytestmark = pytest.mark.gpu
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
# Few enough variants to compile in a minute; each size class of each kernel occurs in some dtype.
CASES = [
    Case("one token", 3, 1, 2, 16, dtype=F32),
    Case("tile 16 with an empty row", 4, 13, 2, 16, empty=True, rank=True, dtype=BF16),
    Case("tile 32 in float32", 5, 32, 3, 32, rank=True, dtype=F32),
    Case("shape of MNIST", 16, 50, 8, 32, dtype=BF16),
    Case("whole tile 64", 4, 64, 2, 64, share=1.0, dtype=BF16),
    Case("head dimension 40 in half precision", 3, 61, 2, 40, rank=True, dtype=F16),
    Case("float32 at head dimension 64", 4, 64, 2, 64, dtype=F32),
    Case("tile 128 forward, blocks for the double backward", 3, 127, 2, 64, dtype=BF16),
    Case("one past two blocks, float32", 3, 129, 2, 32, rank=True, dtype=F32),
    Case("shape of CelebA patch 4", 8, 257, 8, 64, dtype=BF16),
    Case("long rows with ranks", 2, 1100, 2, 64, share=0.5, rank=True, dtype=BF16),
    Case("long rows in half precision", 2, 1025, 2, 32, dtype=F16),
    Case("head dimension 128", 3, 200, 2, 128, dtype=BF16),
    Case("head dimension 128 in float32", 3, 65, 2, 128, empty=True, dtype=F32),
    Case("places of a fixed capacity", 4, 49, 2, 32, spare=21, dtype=BF16),
    Case("places of a fixed capacity in blocks", 3, 150, 2, 64, spare=37, rank=True, dtype=BF16),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_match_float64(case):
    assert_within_budget(case, "cuda")


def test_float32_second_order_is_a_thousand_times_closer_than_tf32():
    case = Case("tf32x3", 4, 64, 2, 64)
    packing = case.packing("cuda")
    qkv, gradient, cotangent, _ = case.tensors(packing)
    true = derivatives(
        lambda x: masked_self_attention(x, packing, backend="reference"),
        *(x.double() for x in (qkv, gradient, cotangent)),
    )
    found = derivatives(lambda x: masked_self_attention(x, packing), qkv, gradient, cotangent)
    assert max(errors(found, true)) < 1e-6


def test_runs_repeat_bit_for_bit():
    case = Case("repeat", 4, 257, 2, 64, rank=True, dtype=BF16)
    packing = case.packing("cuda")
    *tensors, rank = case.tensors(packing)
    first = derivatives(lambda x: masked_self_attention(x, packing, rank), *tensors)
    again = derivatives(lambda x: masked_self_attention(x, packing, rank), *tensors)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_a_cuda_graph_replays_forward_backward_and_double_backward():
    """A fixed capacity and a known longest row: one capture serves every later mask."""
    tokens, capacity = 50, 600
    masks = [torch.rand(16, tokens, device="cuda") < share for share in (0.5, 0.7)]
    visible = masks[0].clone()
    qkv = torch.randn(capacity, 3, 2, 32, device="cuda", dtype=BF16, requires_grad=True)

    def step() -> torch.Tensor:
        packing = make_packing(visible, tokens, capacity)
        out = masked_self_attention(qkv, packing)
        (g,) = torch.autograd.grad(out.float().square().sum(), qkv, create_graph=True)
        return torch.autograd.grad(g.float().square().sum(), qkv)[0]

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(2):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for mask in masks:
        visible.copy_(mask)
        graph.replay()
        assert torch.equal(captured, step())
        assert captured.abs().sum() > 0


def test_compiled_blocks_give_the_same_gradients():
    from pipeline.model.transformer import Block

    torch.manual_seed(0)
    block = Block(64, 2, 2.0, "triton").cuda()
    packing = make_packing(torch.rand(8, 40, device="cuda") < 0.6)
    x = torch.randn(packing.total, 64, device="cuda", requires_grad=True)

    def gradients(function) -> list[torch.Tensor]:
        return list(torch.autograd.grad(function(x, packing, None).square().sum(), [x, *block.parameters()]))

    compiled = torch.compile(block, fullgraph=True, dynamic=True)
    for a, b in zip(gradients(compiled), gradients(block), strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm()


def test_a_training_step_agrees_with_the_reference():
    from tests.helpers.training_case import gradients_of_a_step

    own, reference = (gradients_of_a_step(backend, "cuda") for backend in ("triton", "reference"))
    for name in own:
        difference = (own[name] - reference[name]).norm() / reference[name].norm()
        assert difference < 1e-4, f"{name}: {difference:.1e}"


def test_a_compiled_step_agrees_with_an_eager_one():
    """R1 and R2 included, whose gradients compiled blocks take by explicit code."""
    from pipeline.training.build import compile_step
    from tests.helpers.training_case import random_batch, training_step

    found = []
    for compiles in (False, True):
        step = training_step("triton", "cuda")
        if compiles:
            compile_step(step, torch.device("cuda"))
        losses, _ = step(random_batch(16).to(torch.device("cuda")), 0, 3)
        assert "r1" in losses
        found.append((step.flat_d.gradients.clone(), step.flat_g.gradients.clone()))
    for eager, compiled in zip(*found, strict=True):
        assert (compiled - eager).norm() <= 1e-3 * eager.norm()
