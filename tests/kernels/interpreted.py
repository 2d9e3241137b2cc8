"""Triton kernels on CPU tensors by Triton's interpreter: collected by test_interpreted.py in a process of its own.

Forward, backward and double backward of every kernel against float64, on shapes that break careless masks. The
interpreter checks no bounds and has no bfloat16 product: a card does (test_masked_attention_gpu.py).
"""

from __future__ import annotations

import os

import pytest
import torch

from kernels.discriminator_losses import discriminator_losses, generator_losses
from kernels.masked_attention import make_packing, masked_attention, masked_self_attention
from kernels.masked_attention.configurations import BLOCK_KERNELS, block_configuration, tile_configuration
from pipeline.base.model_groups import NetworkParams
from pipeline.model.discriminator import Discriminator
from pipeline.training.input_gradient import block_forward, block_gradient, input_gradient
from pipeline.training.losses import exact_penalty
from tests.helpers.attention_cases import Case, assert_within_budget, derivatives, eager_attention, errors
from tests.helpers.losses_cases import CASES as LOSSES
from tests.helpers.losses_cases import assert_close_to_float64
from tests.helpers.training_case import SCHEMA, r1_gradient, random_batch

assert os.environ.get("TRITON_INTERPRET") == "1"
F16 = torch.float16
CASES = [
    Case("one token, one head", 2, 1, 1, 16),
    Case("tile 16 with an empty row and ranks", 3, 13, 2, 16, empty=True, rank=True),
    Case("prime length, head dimension 5", 2, 31, 1, 5, rank=True),
    Case("whole tile 64 in half precision", 2, 64, 1, 16, share=1.0, dtype=F16),
    Case("one token past the tile, ranks", 2, 65, 1, 16, rank=True),
    Case("one token past two blocks, head dimension 40", 2, 129, 1, 40, share=0.4, dtype=F16),
    Case("blocks with an empty row", 3, 140, 1, 16, share=0.3, empty=True, rank=True),
    Case("places of a fixed capacity in a tile", 3, 20, 2, 16, spare=7, rank=True),
    Case("places of a fixed capacity in blocks", 2, 133, 1, 16, spare=9),
    Case("narrow rests in half precision, ranks", 3, 130, 1, 16, share=0.6, rank=True, empty=True, dtype=F16),
    Case("wide rests in half precision, fixed capacity", 2, 153, 1, 40, share=0.7, spare=9, dtype=F16),
]
MORE = [
    Case(f"sweep {tokens} {dim} {rank}", 2, tokens, 2, dim, share=0.7, rank=rank, dtype=dtype, seed=tokens)
    for tokens in (1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 257)
    for dim, dtype in ((16, torch.float32), (32, F16), (64, torch.float32), (100, F16), (128, torch.float32))
    for rank in (False, True)
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_match_float64(case):
    assert_within_budget(case, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("case", MORE, ids=str)
def test_kernels_match_float64_on_a_sweep_of_shapes(case):
    assert_within_budget(case, "cpu")


def test_the_cases_reach_every_kernel():
    """Both paths at every order; a change of the table must not leave a kernel untested."""
    lengths = {c.tokens for c in CASES}
    for kernel in ("forward_tile", "backward_tile", "double_tile"):
        found = {tile_configuration(kernel, n, 16, 4, 80) is None for n in lengths}
        assert found == {True, False}, kernel
    assert all(block_configuration(kernel, 16, 4, 80) for kernel in BLOCK_KERNELS)


@pytest.mark.parametrize("scale", [-0.3, 0.0])
def test_any_scale_is_exact_in_blocks(scale):
    """The online softmax takes the maximum before the scale: its sign must not matter, nor a mask times 0."""
    case = Case("scale", 2, 131, 1, 16, share=0.5, rank=True)
    packing = case.packing()
    qkv, gradient, cotangent, rank = case.tensors(packing)
    factors = torch.tensor([scale * case.head_dim**0.5, 1.0, 1.0], dtype=torch.float64)[:, None, None]
    found, true = (
        derivatives(function, *(x.to(dtype) for x in (qkv, gradient, cotangent)))
        for function, dtype in (
            (lambda x: masked_self_attention(x, packing, rank, scale=scale, backend="triton"), torch.float32),
            (lambda x: eager_attention(x * factors, packing, rank), torch.float64),
        )
    )
    assert max(errors(found, true)) < 1e-6


def test_non_contiguous_inputs_keep_their_second_order():
    case = Case("permuted", 2, 9, 2, 16)
    packing = case.packing()
    qkv, gradient, _, _ = case.tensors(packing)
    base = qkv.permute(3, 1, 0, 2).contiguous().requires_grad_(True)
    strided = gradient.transpose(0, 1).contiguous().transpose(0, 1)

    def penalty(attend) -> torch.Tensor:
        (first,) = torch.autograd.grad(attend(base.permute(2, 1, 3, 0)), base, strided, create_graph=True)
        return torch.autograd.grad(first.square().sum(), base)[0]

    own = penalty(lambda x: masked_attention(*x.unbind(1), packing, backend="triton"))
    true = penalty(lambda x: eager_attention(x, packing, None))
    assert errors([own], [true])[0] < 1e-6


def test_r1_gradient_of_a_transformer():
    """The rest of the network rounds, too: the kernels must add no more to it than the reference."""
    true = r1_gradient(torch.float64, "reference")
    own, reference = (errors([r1_gradient(torch.float32, b)], [true])[0] for b in ("triton", "reference"))
    assert reference <= 1e-6
    assert own <= 2 * reference


def test_a_third_derivative_raises():
    packing = make_packing(torch.ones(1, 3, dtype=torch.bool))
    x = torch.randn(3, 3, 1, 4, requires_grad=True)
    out = masked_self_attention(x, packing, backend="triton")
    (first,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="masked_attention has no third derivative"):
        torch.autograd.grad(first.square().sum(), x, create_graph=True)


def test_operators_for_compilation_equal_the_functions():
    from kernels.masked_attention import operators

    case = Case("operators", 2, 9, 2, 16, rank=True)
    packing = case.packing()
    *tensors, rank = case.tensors(packing)
    fixed = (packing.cu_seqlens, rank.to(torch.int16), packing.max_length, packing.padded, 0.25)
    own = derivatives(lambda x: operators.forward(x, *fixed)[0], *tensors)
    same = derivatives(lambda x: masked_self_attention(x, packing, rank, scale=0.25, backend="triton"), *tensors)
    assert all(torch.equal(a, b) for a, b in zip(own, same, strict=True))


def test_one_compiled_graph_serves_every_mask():
    """Lengths and the number of tokens stay symbols: a new mask must not compile again."""
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(
        lambda x, packing: masked_self_attention(x * 2, packing, backend="triton"), backend=count, dynamic=True,
        fullgraph=True,
    )  # fmt: skip
    for rows, tokens in ((4, 5), (5, 9), (7, 17)):
        visible = torch.rand(rows, tokens, generator=torch.Generator().manual_seed(rows)) < 0.7
        packing = make_packing(visible)
        x = torch.randn(packing.total, 3, 2, 16)
        torch.testing.assert_close(compiled(x, packing), masked_self_attention(x * 2, packing))
    assert len(graphs) == 1


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler asks for it
def test_a_compiled_penalty_has_the_gradient_of_an_eager_one():
    """The operators inside compiled blocks, differentiated once more by autograd; tracing only, no code generator."""
    torch.manual_seed(0)
    critic = Discriminator(
        SCHEMA, NetworkParams(width=16, depth=2, heads=1), minibatch_group=2, attention_backend="triton"
    )
    batch = random_batch(4)
    calls = [
        torch.compile(f, backend="aot_eager", fullgraph=True, dynamic=True) for f in (block_forward, block_gradient)
    ]
    found = []
    for penalty in (
        input_gradient(critic, batch.features, batch.role, *calls).square().sum(1),
        exact_penalty(critic, batch.features, batch.role),
    ):
        gradients = torch.autograd.grad(penalty.mean(), list(critic.parameters()), allow_unused=True)
        found.append(torch.cat([g.flatten() for g in gradients if g is not None]))
    assert (found[0] - found[1]).norm() <= 1e-5 * found[1].norm()


@pytest.mark.parametrize("case", LOSSES, ids=str)
def test_losses_match_float64_to_second_order(case):
    assert_close_to_float64(case, "triton")


def test_a_nan_logit_surfaces_in_its_family_alone():
    real = torch.tensor([0.5, float("nan"), 1.0])
    family = torch.tensor([0, 1, 0])
    for function in (discriminator_losses, generator_losses):
        loss, statistics = function(real, torch.zeros(3), family, n_families=3, backend="triton")
        assert torch.isnan(loss)
        assert torch.isnan(statistics.accuracy).tolist() == [False, True, False]
        assert statistics.count.tolist() == [2.0, 1.0, 0.0]


def test_losses_have_no_third_derivative():
    real = torch.randn(4, requires_grad=True)
    loss, _ = discriminator_losses(real, torch.zeros(4), torch.zeros(4).long(), n_families=1, backend="triton")
    (first,) = torch.autograd.grad(loss, real, create_graph=True)
    with pytest.raises(RuntimeError, match="discriminator_losses has no third derivative"):
        torch.autograd.grad(first.square().sum(), real, create_graph=True)


def test_kernels_refuse_what_they_do_not_compute():
    packing = make_packing(torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(TypeError, match="'qkv' must be float32, float16 or bfloat16 for backend 'triton'"):
        masked_self_attention(torch.zeros(2, 3, 1, 4, dtype=torch.float64), packing, backend="triton")
    with pytest.raises(ValueError, match="head dimension of 1 to 128 for backend 'triton'. Got 129."):
        masked_self_attention(torch.zeros(2, 3, 1, 129), packing, backend="triton")
    with pytest.raises(TypeError, match="'real' must be float32 or a half precision for backend 'triton'"):
        wide = torch.zeros(2, dtype=torch.float64)
        discriminator_losses(wide, wide, torch.zeros(2).long(), n_families=1, backend="triton")
