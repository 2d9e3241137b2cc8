"""`attention` on a card: every derivative in both modes in each dtype, compiled, and in a CUDA graph."""

from __future__ import annotations

import pytest
import torch

from kernels.masked_attention import attention, attention_jvp
from tests.helpers.dense_attention import DenseCase, all_orders, assert_all_orders_within_budget

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")]
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
CASES = [
    DenseCase("tile with hidden keys", 3, 2, 50, 32, mask=True, dtype=BF16),
    DenseCase("causal tile", 2, 2, 64, 64, causal=True, dtype=BF16),
    DenseCase("causal blocks", 2, 2, 200, 64, causal=True, dtype=BF16),
    DenseCase("causal blocks with hidden keys and ranks", 2, 2, 150, 64, mask=True, causal=True, rank=True, dtype=BF16),
    DenseCase("causal blocks in float32", 2, 1, 130, 32, causal=True, dtype=F32),
    DenseCase("fewer queries than keys", 2, 2, 40, 40, keys=133, mask=True, dtype=F16),
    DenseCase("more queries than keys", 2, 2, 130, 64, keys=70, dtype=BF16),
    DenseCase("head dimension 128", 1, 2, 129, 128, causal=True, dtype=BF16),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_derivative_matches_float64(case):
    assert_all_orders_within_budget(case, "cuda", "triton")


def test_what_the_kernels_do_not_take_runs_by_the_reference():
    case = DenseCase("float64", 2, 2, 70, 16, mask=True, dtype=torch.float64)
    assert_all_orders_within_budget(case, "cuda", "auto")


def test_a_compiled_forward_derivative_equals_the_eager_one():
    case = CASES[2]
    primals, gradient, tangents = case.tensors("cuda")

    def both(*x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return attention_jvp(x[:3], x[3:], **case.seen("cuda"))

    results = []
    for call in (both, torch.compile(both, fullgraph=True)):
        inputs = [x.clone().requires_grad_(True) for x in (*primals, *tangents)]
        out, derivative = call(*inputs)
        results.append([out, derivative, *torch.autograd.grad((out, derivative), inputs, (gradient, gradient))])
    for a, b in zip(*results, strict=True):
        assert (a - b).float().norm() <= 2.0**-7 * b.float().norm()


def test_runs_repeat_bit_for_bit():
    case = CASES[3]
    first, again = (all_orders(lambda *x: attention(*x, **case.seen("cuda")), *case.tensors("cuda")) for _ in range(2))
    assert all(torch.equal(a, b) for name in first for a, b in zip(first[name], again[name], strict=True))


def test_a_cuda_graph_replays_value_and_forward_derivative():
    primals, _, tangents = CASES[2].tensors("cuda")
    call = lambda: attention_jvp(primals, tangents, is_causal=True)  # noqa: E731
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = call()
    primals[0].mul_(0.5)
    graph.replay()
    for a, b in zip(captured, call(), strict=True):
        assert torch.equal(a, b)
