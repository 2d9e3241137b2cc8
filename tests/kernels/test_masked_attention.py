"""The reference of masked attention: exact to second order in any layout, raising at the third, needing only torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.masked_attention import make_packing, masked_attention, masked_attention_padded, masked_self_attention
from tests.helpers.attention_cases import Case, assert_within_budget, derivatives, eager_attention, errors

ROOT = Path(__file__).resolve().parents[2]
CASES = [
    Case("one token", 2, 1, 2, 3),
    Case("empty row", 3, 7, 2, 4, empty=True),
    Case("ranks", 3, 7, 2, 4, rank=True),
    Case("places of a fixed capacity", 3, 6, 1, 5, rank=True, spare=4),
    Case("everything visible", 2, 6, 2, 4, share=1.0),
    Case("half precision computes in float32", 2, 33, 2, 16, rank=True, dtype=torch.float16),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_reference_matches_plain_autograd_to_second_order(case):
    assert_within_budget(case, "cpu", "reference")


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 3), st.integers(1, 9), st.integers(1, 3), st.integers(1, 5), st.booleans(), st.floats(0, 1),
    st.integers(0, 99),
)  # fmt: skip
def test_reference_is_exact_in_float64_for_any_shape(batch, tokens, heads, dim, rank, share, seed):
    case = Case("any", batch, tokens, heads, dim, share, rank=rank, dtype=torch.float64, seed=seed)
    packing = case.packing()
    *tensors, ranks = case.tensors(packing)
    found = derivatives(lambda x: masked_self_attention(x, packing, ranks), *tensors)
    true = derivatives(lambda x: eager_attention(x, packing, ranks), *tensors)
    for a, b in zip(found, true, strict=True):
        assert (a - b).abs().max() <= 1e-11


SMALL = [
    Case("small with ranks and an empty row", 2, 4, 1, 2, rank=True, empty=True),
    Case("small with a fixed capacity", 2, 3, 2, 2, spare=1),
    Case("small, all visible", 1, 4, 2, 2, share=1.0),
]


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_gradcheck_and_gradgradcheck(case):
    packing = case.packing()
    qkv, *_, rank = case.tensors(packing)
    qkv = qkv.double().requires_grad_(True)

    def function(x: torch.Tensor) -> torch.Tensor:
        return masked_self_attention(x, packing, rank)

    assert torch.autograd.gradcheck(function, qkv)
    assert torch.autograd.gradgradcheck(function, qkv)


def test_padded_layout_agrees_with_the_packed_one():
    case = Case("padded", 3, 6, 2, 4, rank=True, dtype=torch.float64)
    packing = case.packing()
    qkv, *_, rank = case.tensors(packing)
    visible = torch.zeros(18, dtype=torch.bool).index_fill_(0, packing.index, True).view(3, 6)
    grid = torch.zeros(18, 3, 2, 4, dtype=torch.float64).index_copy(0, packing.index, qkv).view(3, 6, 3, 2, 4)
    ranks = torch.zeros(18, dtype=torch.int64).index_copy(0, packing.index, rank).view(3, 6)
    out = masked_attention_padded(*grid.permute(2, 0, 3, 1, 4).unbind(0), visible, ranks)
    packed = out.transpose(1, 2).reshape(18, 2, 4)[packing.index]
    torch.testing.assert_close(packed, masked_self_attention(qkv, packing, rank))
    assert (out.transpose(1, 2)[~visible] == 0).all()


def test_rows_that_see_nothing_give_zeros():
    packing = make_packing(torch.tensor([[True, True], [False, False]]), 2, 4)
    qkv = torch.randn(4, 3, 1, 2, requires_grad=True)
    out = masked_self_attention(qkv, packing)
    assert (out[2:] == 0).all()
    (gradient,) = torch.autograd.grad(out.sum(), qkv)
    assert (gradient[2:] == 0).all()
    assert torch.isfinite(gradient).all()


def test_non_contiguous_inputs_keep_their_second_order():
    """A copy made inside a Function's forward would have no graph: silently wrong."""
    case = Case("permuted", 2, 9, 2, 4, dtype=torch.float64)
    packing = case.packing()
    qkv, gradient, _, _ = case.tensors(packing)
    base = qkv.permute(3, 1, 0, 2).contiguous().requires_grad_(True)  # (D, 3, M, H)

    def penalty(attend) -> torch.Tensor:
        out = attend(base.permute(2, 1, 3, 0))
        (first,) = torch.autograd.grad(
            out, base, gradient.transpose(0, 1).contiguous().transpose(0, 1), create_graph=True
        )
        return torch.autograd.grad(first.square().sum(), base)[0]

    own = penalty(lambda x: masked_attention(*x.unbind(1), packing))
    torch.testing.assert_close(own, penalty(lambda x: eager_attention(x, packing, None)))


def test_autocast_does_not_reach_into_the_reference():
    case = Case("autocast", 3, 9, 2, 8, rank=True, dtype=torch.bfloat16)
    packing = case.packing()
    *tensors, rank = case.tensors(packing)
    plain = derivatives(lambda x: masked_self_attention(x, packing, rank), *tensors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same = derivatives(lambda x: masked_self_attention(x, packing, rank), *tensors)
    assert all(torch.equal(a, b) for a, b in zip(plain, same, strict=True))


def test_a_third_derivative_raises():
    packing = make_packing(torch.ones(1, 3, dtype=torch.bool))
    x = torch.randn(3, 3, 1, 2, requires_grad=True)
    (first,) = torch.autograd.grad(masked_self_attention(x, packing).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="masked_attention has no third derivative"):
        torch.autograd.grad(first.square().sum(), x, create_graph=True)


def test_r1_gradient_of_a_transformer_in_float32():
    from tests.helpers.training_case import r1_gradient

    true = r1_gradient(torch.float64, "reference")
    assert errors([r1_gradient(torch.float32, "reference")], [true])[0] <= 1e-6


def test_reference_needs_no_triton():
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch\n"
        "from kernels.masked_attention import make_packing, masked_self_attention\n"
        "from kernels.discriminator_losses import discriminator_losses\n"
        "packing = make_packing(torch.ones(2, 3, dtype=torch.bool))\n"
        "x = torch.randn(6, 3, 1, 4, requires_grad=True)\n"
        "masked_self_attention(x, packing).sum().backward()\n"
        "discriminator_losses(x[:, 0, 0, 0], x[:, 1, 0, 0], torch.zeros(6, dtype=torch.int64), n_families=1)\n"
        "assert not any(name.startswith('triton') and sys.modules[name] for name in list(sys.modules))\n"
        "try: masked_self_attention(x, packing, backend='triton')\n"
        "except RuntimeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "Backend 'triton' needs" in done.stdout


PACKING = make_packing(torch.ones(2, 3, dtype=torch.bool))
GOOD = torch.zeros(6, 2, 4)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"q": GOOD[:5]}, ValueError, r"'q' must be \(M, H, D\) with M = 6 packed tokens. Got shape \(5, 2, 4\)."),
        ({"k": GOOD[:, :1]}, ValueError, r"'k' must have the shape of 'q', \(6, 2, 4\). Got \(6, 1, 4\)."),
        ({"v": GOOD.double()}, TypeError, "'v' must be torch.float32 on cpu, like 'q'. Got torch.float64 on cpu."),
        ({"q": GOOD.long()}, TypeError, "'q' must be floating point. Got torch.int64."),
        ({"rank": torch.zeros(6)}, TypeError, "'rank' must be an integer tensor. Got torch.float32."),
        ({"rank": torch.zeros(5).long()}, ValueError, r"'rank' must be \(M,\) = \(6,\). Got shape \(5,\)."),
        ({"backend": "cuda"}, ValueError, "'backend' must be one of auto, reference, triton. Got 'cuda'."),
        ({"backend": "triton"}, RuntimeError, "Backend 'triton' needs tensors on a GPU. Got device cpu"),
    ],
)
def test_errors_name_the_argument_the_rule_and_what_came(change, error, words, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    given_ = {"q": GOOD, "k": GOOD, "v": GOOD, "packing": PACKING} | change
    with pytest.raises(error, match=words):
        masked_attention(**given_)


@pytest.mark.parametrize(
    ("qkv", "error", "words"),
    [
        (
            torch.zeros(6, 2, 4),
            ValueError,
            r"'qkv' must be \(M, 3, H, D\) with M = 6 packed tokens. Got shape \(6, 2, 4\).",
        ),
        (torch.zeros(5, 3, 2, 4), ValueError, r"'qkv' must be .* Got shape \(5, 3, 2, 4\)."),
        (torch.zeros(6, 3, 2, 4).long(), TypeError, "'qkv' must be floating point. Got torch.int64."),
    ],
)
def test_errors_of_the_joint_call(qkv, error, words):
    with pytest.raises(error, match=words):
        masked_self_attention(qkv, PACKING)
