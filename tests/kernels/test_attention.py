"""`attention` by its reference: PyTorch's values, every derivative in both modes, errors of one line. Kernels: interpreted_attention.py."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import scaled_dot_product_attention

from kernels.masked_attention import attention, attention_jvp, make_packing, masked_attention, pack
from tests.helpers.attention_cases import errors
from tests.helpers.dense_attention import DenseCase, all_orders, assert_all_orders_within_budget

pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script` is deprecated"
)  # PyTorch's own, at the first dual number
F64 = torch.float64
CASES = [
    DenseCase("plain", 2, 2, 5, 4, dtype=F64),
    DenseCase("hidden keys and a row that sees nothing", 2, 2, 5, 4, mask=True, dtype=F64),
    DenseCase("causal", 1, 2, 6, 3, causal=True, dtype=F64),
    DenseCase("ranks of queries and keys", 2, 1, 5, 4, rank=True, dtype=F64),
    DenseCase(
        "everything, other lengths", 2, 1, 4, 3, keys=6, mask=True, causal=True, rank=True, scale=-0.7, dtype=F64
    ),
]
HALF = [
    DenseCase(f"half precision {dtype}", 2, 2, 33, 16, mask=True, causal=True, dtype=dtype)
    for dtype in (torch.float16, torch.bfloat16, torch.float32)
]


@pytest.mark.parametrize("case", CASES + HALF, ids=str)
def test_every_derivative_matches_the_textbook(case):
    assert_all_orders_within_budget(case, "cpu", "reference")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradcheck_in_both_modes(case):
    seen, primals = case.seen(), tuple(x.requires_grad_(True) for x in case.tensors()[0])

    def function(*x: torch.Tensor) -> torch.Tensor:
        return attention(*x, **seen)

    assert gradcheck(function, primals, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True)
    assert gradgradcheck(function, primals, check_fwd_over_rev=True)


def test_gradcheck_of_packed_rows():
    x = [torch.randn(8, 2, 3, dtype=F64, requires_grad=True) for _ in range(3)]
    seen = {"cu_seqlens": torch.tensor([0, 3, 3, 7]), "rank": torch.tensor([0, 1, 0, 2, 0, 1, 1, 0])}

    def function(*x: torch.Tensor) -> torch.Tensor:
        return attention(*x, **seen)

    assert gradcheck(function, x, check_forward_ad=True)
    assert gradgradcheck(function, x, check_fwd_over_rev=True)
    assert (function(*x)[7:] == 0).all()  # behind the last row


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(1, 5), st.booleans(), st.integers(0, 99)
)  # fmt: skip
def test_values_are_those_of_pytorch(batch, heads, queries, keys, dim, causal, seed):
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(batch, heads, n, dim, generator=generator, dtype=F64) for n in (queries, keys, keys))
    true = scaled_dot_product_attention(q, k, v, is_causal=causal)
    torch.testing.assert_close(attention(q, k, v, is_causal=causal), true)
    mask = torch.rand(batch, keys, generator=generator) < 0.5
    mask[:, 0] = True
    true = scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
    torch.testing.assert_close(attention(q, k, v, mask=mask), true)
    torch.testing.assert_close(attention(q, k, v, mask=mask[:, None, None]), true)


def test_shared_heads_are_those_of_pytorch():
    q, k, v = torch.randn(2, 6, 5, 4), torch.randn(2, 2, 5, 4), torch.randn(2, 2, 5, 4)
    torch.testing.assert_close(
        attention(q, k, v, enable_gqa=True), scaled_dot_product_attention(q, k, v, enable_gqa=True)
    )
    cu_seqlens = torch.tensor([0, 5, 10])
    packed = attention(*(x.transpose(1, 2).flatten(0, 1) for x in (q, k, v)), cu_seqlens=cu_seqlens, enable_gqa=True)
    torch.testing.assert_close(packed.view(2, 5, 6, 4).transpose(1, 2), attention(q, k, v, enable_gqa=True))


def test_a_query_that_sees_nothing_gives_zero_and_passes_no_gradient():
    q, k, v = (torch.randn(2, 1, 3, 4, requires_grad=True) for _ in range(3))
    out = attention(q, k, v, mask=torch.tensor([[False] * 3, [True] * 3]))
    assert (out[0] == 0).all()
    for gradient in torch.autograd.grad(out.sum(), (q, k, v)):
        assert (gradient[0] == 0).all() and torch.isfinite(gradient).all()


def test_packed_rows_agree_with_masked_attention():
    visible = torch.rand(4, 9, generator=torch.Generator().manual_seed(0)) < 0.6
    packing = make_packing(visible)
    q, k, v = (pack(torch.randn(4, 9, 8, dtype=F64), packing).view(-1, 2, 4) for _ in range(3))
    rank = torch.randint(0, 3, (packing.total,))
    own = attention(q, k, v, cu_seqlens=packing.cu_seqlens, rank=rank, max_length=9)
    torch.testing.assert_close(own, masked_attention(q, k, v, packing, rank))


def test_attention_jvp_agrees_with_torch_func():
    case = CASES[-1]
    primals, gradient, tangents = case.tensors()
    found = attention_jvp(primals, tangents, **case.seen())
    true = all_orders(lambda *x: attention(*x, **case.seen()), primals, gradient, tangents)
    assert max(errors(list(found), [*true["out"], *true["forward"]])) < 1e-13


def test_one_graph_of_torch_compile_holds_values_and_both_modes():
    case = CASES[1]
    primals, gradient, tangents = case.tensors()
    seen = case.seen()

    def both(*x_and_t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.func.jvp(lambda *x: attention(*x, **seen), x_and_t[:3], x_and_t[3:])

    compiled = torch.compile(both, backend="aot_eager", fullgraph=True)
    for a, b in zip(compiled(*primals, *tangents), both(*primals, *tangents), strict=True):
        torch.testing.assert_close(a, b)
    gradients = torch.compile(
        torch.func.grad(lambda q: (attention(q, *primals[1:], **seen) * gradient).sum()),
        backend="aot_eager",
        fullgraph=True,
    )
    torch.testing.assert_close(
        gradients(primals[0]), all_orders(lambda *x: attention(*x, **seen), *case.tensors())["reverse"][0]
    )


def test_vmap_gives_gradients_of_each_row():
    q, k, v = (torch.randn(3, 1, 2, 4, 5, dtype=F64) for _ in range(3))
    loss = lambda q, k, v: attention(q, k, v, is_causal=True).square().sum()  # noqa: E731
    found = torch.func.vmap(torch.func.grad(loss))(q, k, v)
    torch.testing.assert_close(found[1], torch.func.grad(loss)(q[1], k[1], v[1]))


def test_autocast_does_not_reach_into_the_reference():
    case = HALF[1]
    primals, gradient, tangents = case.tensors()
    plain = all_orders(lambda *x: attention(*x, **case.seen()), primals, gradient, tangents)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same = all_orders(lambda *x: attention(*x, **case.seen()), primals, gradient, tangents)
    assert max(e for name in plain for e in errors(same[name], plain[name])) < 2.0**-7


def test_empty_inputs_give_empty_or_zero():
    x = torch.zeros(0, 2, 3, 4)
    assert attention(x, x, x).shape == x.shape
    q, k = torch.ones(1, 2, 3, 4), torch.ones(1, 2, 0, 4)
    assert (attention(q, k, k) == 0).all()
    x = torch.ones(0, 2, 4)
    assert attention(x, x, x, cu_seqlens=torch.tensor([0, 0])).shape == x.shape


X = torch.zeros(2, 2, 3, 4)
P = torch.zeros(6, 2, 4)
CU = torch.tensor([0, 2, 6])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"q": P}, ValueError, r"'q' must be \(B, H, L, D\). Got shape \(6, 2, 4\)."),
        ({"cu_seqlens": CU}, ValueError, r"'q' must be \(M, H, D\) with 'cu_seqlens'. Got shape \(2, 2, 3, 4\)."),
        ({"q": X.long()}, TypeError, "'q' must be floating point. Got torch.int64."),
        ({"k": X[..., :3]}, ValueError, r"'k' must have shape \(2, 2, 3, 4\); their tokens may .* Got \(2, 2, 3, 3\)."),
        ({"v": torch.zeros(2, 2, 5, 4)}, ValueError, r"'v' must have shape \(2, 2, 3, 4\)"),
        ({"v": X.double()}, TypeError, "'v' must be torch.float32 on cpu, like 'q'. Got torch.float64 on cpu."),
        ({"k": X[:, :1], "v": X[:, :1]}, ValueError, "their heads with 'enable_gqa'. Got"),
        (
            {"mask": torch.zeros(2, 3)},
            TypeError,
            "'mask' must be bool, True for keys that may be seen. Got torch.float32.",
        ),
        ({"mask": torch.ones(3, 3).bool()}, ValueError, r"'mask' must be \(B, S\) = \(2, 3\): .* Got shape \(3, 3\)."),
        ({"rank": torch.zeros(2, 3)}, TypeError, "'rank' must be an integer tensor. Got torch.float32."),
        ({"rank": torch.zeros(2, 4).long()}, ValueError, r"'rank' must have shape \(2, 3\). Got \(2, 4\)."),
        ({"key_rank": torch.zeros(2, 3).long()}, ValueError, "'rank' must be given where 'key_rank' is. Got None."),
        ({"max_length": 3}, ValueError, "'max_length' must be None without 'cu_seqlens'. Got 3."),
        ({"backend": "cuda"}, ValueError, "'backend' must be one of auto, reference, triton. Got 'cuda'."),
        ({"backend": "triton"}, RuntimeError, "Backend 'triton' needs tensors on a GPU. Got device cpu"),
        (
            {"q": P, "k": P, "v": P, "cu_seqlens": CU, "mask": torch.ones(2, 3).bool()},
            ValueError,
            "'mask' must be None with 'cu_seqlens': leave hidden tokens out of the packed rows.",
        ),
        ({"q": P, "k": P, "v": P, "cu_seqlens": CU.double()}, ValueError, r"'cu_seqlens' must be \(B \+ 1,\) integers"),
        (
            {"q": P, "k": P[:4], "v": P[:4], "cu_seqlens": CU},
            ValueError,
            r"'k' must have shape \(6, 2, 4\). Got \(4, 2, 4\).",
        ),
    ],
)
def test_errors_name_the_argument_the_rule_and_what_came(change, error, words, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(error, match=words) as caught:
        attention(**({"q": X, "k": X, "v": X} | change))
    assert "\n" not in str(caught.value)


def test_errors_of_tangents():
    with pytest.raises(ValueError, match=r"The tangent of 'k' must be torch.float32 \(2, 2, 3, 4\). Got torch.float64"):
        attention_jvp((X, X, X), (X, X.double(), X))
    with pytest.raises(ValueError, match="'tangents' must be those of q, k, v. Got 2 tensors."):
        attention_jvp((X, X, X), (X, X))
    shorter = torch.zeros(2, 2, 5, 4)
    with pytest.raises(ValueError, match="'key_rank' must be given where k has 5 tokens and q 3. Got None."):
        attention(X, shorter, shorter, rank=torch.zeros(2, 3).long())
