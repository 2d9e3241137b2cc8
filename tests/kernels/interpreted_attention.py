"""`attention` by the Triton kernels on CPU tensors: collected by test_interpreted.py in a process of its own.

Every derivative up to the second order, in both modes, against the textbook in float64.
"""

from __future__ import annotations

import os

import pytest
import torch
from torch.autograd import forward_ad

from kernels.masked_attention import attention, attention_jvp
from tests.helpers.attention_cases import errors
from tests.helpers.dense_attention import DenseCase, all_orders, assert_all_orders_within_budget

assert os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script` is deprecated"
)  # PyTorch's own, at the first dual number
F16 = torch.float16
CASES = [
    DenseCase("tile", 2, 2, 13, 16),
    DenseCase("tile with hidden keys and an empty row", 2, 1, 17, 8, mask=True),
    DenseCase(
        "tile with everything, half precision", 1, 1, 19, 5, mask=False, causal=True, rank=True, scale=-0.4, dtype=F16
    ),
    DenseCase("more queries than keys", 1, 1, 30, 16, keys=9),
    DenseCase("blocks with hidden keys and an empty row", 2, 1, 66, 16, mask=True),
    DenseCase("causal blocks in half precision", 1, 1, 131, 16, causal=True, dtype=F16),
]
MORE = [
    DenseCase("causal tile in half precision", 1, 2, 31, 16, causal=True, dtype=F16),
    DenseCase("tile with everything", 2, 1, 19, 5, mask=True, causal=True, rank=True, scale=-0.4),
    DenseCase("fewer queries than keys", 2, 1, 5, 16, keys=21, mask=True),
    DenseCase("more queries than keys, causal", 2, 1, 30, 16, keys=9, causal=True),
    DenseCase("causal blocks", 1, 1, 150, 16, causal=True),
    DenseCase("causal blocks, whole ones alone", 1, 1, 128, 16, causal=True, dtype=F16),
    DenseCase("causal blocks of a larger head", 1, 1, 201, 32, causal=True, dtype=F16),
    DenseCase("causal blocks with ranks in half precision", 1, 1, 97, 16, causal=True, rank=True, dtype=F16),
    DenseCase("causal blocks of a head that is not split", 1, 1, 130, 128, causal=True, dtype=F16),
    DenseCase("half precision with hidden keys", 2, 1, 83, 16, mask=True, dtype=F16),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_derivative_of_the_kernels_matches_float64(case):
    assert_all_orders_within_budget(case, "cpu", "triton")


@pytest.mark.slow
@pytest.mark.parametrize("case", MORE, ids=str)
def test_every_derivative_matches_float64_on_more_shapes(case):
    assert_all_orders_within_budget(case, "cpu", "triton")


def packed_case() -> tuple:
    generator = torch.Generator().manual_seed(3)
    x = [torch.randn(75, 1, 16, generator=generator) for _ in range(7)]
    cu_seqlens = torch.tensor([0, 3, 3, 70], dtype=torch.int32)  # five places behind the last row
    rank = torch.randint(0, 3, (75,), generator=generator)
    return tuple(x[:3]), x[3], tuple(x[4:]), {"cu_seqlens": cu_seqlens, "rank": rank, "is_causal": True}


def test_packed_rows_match_the_reference():
    primals, gradient, tangents, seen = packed_case()
    gradient[70:] = 0
    for t in tangents:
        t[70:] = 0
    wide = tuple(x.double() for x in primals), gradient.double(), tuple(x.double() for x in tangents)
    true = all_orders(lambda *x: attention(*x, backend="reference", **seen), *wide)
    found = all_orders(lambda *x: attention(*x, backend="triton", **seen), primals, gradient, tangents)
    for name in found:
        assert max(errors(found[name], true[name])) < 2e-6, name


def test_dual_numbers_and_ordinary_autograd():
    """What torch.func does, by forward_ad and create_graph."""
    case = DenseCase("dual", 1, 1, 9, 16)
    primals, gradient, tangents = case.tensors()
    true = all_orders(lambda *x: attention(*x, backend="reference"), primals, gradient, tangents)
    with forward_ad.dual_level():
        out = attention(*map(forward_ad.make_dual, primals, tangents), backend="triton")
        assert errors([forward_ad.unpack_dual(out).tangent], true["forward"])[0] < 1e-6
    x = [p.clone().requires_grad_(True) for p in primals]
    first = torch.autograd.grad(attention(*x, backend="triton"), x, gradient, create_graph=True)
    second = torch.autograd.grad(first, x, tangents)
    assert max(errors(list(second), true["reverse over reverse"][:3])) < 1e-6


def test_what_there_is_not_raises_in_one_line():
    x = [torch.randn(2, 1, 3, 16, requires_grad=True) for _ in range(3)]
    first = torch.autograd.grad(attention(*x, backend="triton").square().sum(), x, create_graph=True)
    second = torch.autograd.grad(sum(f.square().sum() for f in first), x, create_graph=True)
    with pytest.raises(RuntimeError, match="attention has no third derivative.*Choose backend='reference'"):
        torch.autograd.grad(second[0].sum(), x)
    with pytest.raises(RuntimeError, match="cannot run under torch.func.vmap with backend 'triton'"):
        torch.func.vmap(lambda q: attention(q[None], x[1][:1], x[2][:1], backend="triton"))(x[0])
    with pytest.raises(ValueError, match="'q' must be float32, float16 or bfloat16 .* Got torch.float64 and 4"):
        attention(*[torch.zeros(1, 1, 2, 4, dtype=torch.float64)] * 3, backend="triton")


def test_the_operators_of_compiled_code_equal_the_functions():
    case = DenseCase("compiled", 2, 1, 11, 16, mask=True, causal=True)
    primals, gradient, tangents = case.tensors()
    seen = case.seen()

    def both(*x_and_t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return attention_jvp(x_and_t[:3], x_and_t[3:], backend="triton", **seen)

    results = []
    for call in (both, torch.compile(both, backend="aot_eager", fullgraph=True)):
        inputs = [x.clone().requires_grad_(True) for x in (*primals, *tangents)]
        out, derivative = call(*inputs)
        results.append([out, derivative, *torch.autograd.grad((out, derivative), inputs, (gradient, 2 * gradient))])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
