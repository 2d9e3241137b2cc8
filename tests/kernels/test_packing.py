"""Packing: gathers and scatters agree with indexing, to second order; capacities lose nothing; errors name the rule."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.masked_attention import make_packing, pack, unpack


@st.composite
def masks(draw) -> torch.Tensor:
    batch, tokens = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    bits = draw(st.lists(st.booleans(), min_size=batch * tokens, max_size=batch * tokens))
    return torch.tensor(bits).view(batch, tokens)


@settings(deadline=None, max_examples=60)
@given(masks(), st.integers(0, 7))
def test_packing_agrees_with_indexing(visible, spare):
    total = int(visible.sum())
    x = torch.arange(visible.numel() * 2, dtype=torch.float64).view(*visible.shape, 2)
    for packing in (make_packing(visible), make_packing(visible, visible.shape[1], total + spare)):
        packed = pack(x, packing)
        assert torch.equal(packed[:total], x[visible])
        assert packing.lengths.tolist() == visible.sum(1).tolist()
        assert packing.cu_seqlens.tolist() == [0, *visible.sum(1).cumsum(0).tolist()]
        assert torch.equal(unpack(packed, packing), x * visible[..., None])


@settings(deadline=None, max_examples=20)
@given(masks(), st.integers(0, 3))
def test_packing_is_exact_to_second_order(visible, spare):
    packing = make_packing(visible, visible.shape[1], int(visible.sum()) + spare)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(*visible.shape, 2, dtype=torch.float64, generator=generator, requires_grad=True)

    def function(x: torch.Tensor) -> torch.Tensor:
        return unpack(pack(x, packing).square() * 0.5, packing)

    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)


def test_unused_places_of_a_packing_carry_no_gradient():
    visible = torch.tensor([[True, False], [True, True]])
    packing = make_packing(visible, 2, 5)
    x = torch.ones(2, 2, 1, requires_grad=True)
    (gradient,) = torch.autograd.grad(pack(x, packing).sum(), x)
    assert gradient[..., 0].tolist() == [[1.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((torch.ones(2, 3),), TypeError, "'visible' must be a bool tensor. Got torch.float32."),
        ((torch.ones(3, dtype=torch.bool),), ValueError, r"'visible' must be \(B, L\). Got shape \(3,\)."),
        ((torch.ones(2, 3, dtype=torch.bool), 4), ValueError, "'max_length' must lie between 0 and L = 3. Got 4."),
        ((torch.ones(2, 3, dtype=torch.bool), 3, -1), ValueError, "'capacity' must be at least 0. Got -1."),
    ],
)
def test_errors_of_packing_name_the_rule(arguments, error, words):
    with pytest.raises(error, match=words):
        make_packing(*arguments)
