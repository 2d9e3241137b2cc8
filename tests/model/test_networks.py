"""Networks: hidden tokens have no influence, targets are replaced, sources kept, gradients exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels.masked_attention import make_packing
from kernels.task_sampling import HIDDEN, SOURCE, TARGET
from pipeline.base.model_groups import NetworkParams
from pipeline.model.discriminator import Discriminator
from pipeline.model.generator import Generator
from pipeline.model.noise import RowNoise
from pipeline.model.transformer import Block
from pipeline.rows.image_schema import image_label_schema

SCHEMA = image_label_schema(4, 4, 1, 2, 0.0, 16.0, ["a", "b", "c"])
L, F = SCHEMA.n_tokens, SCHEMA.n_features
PARAMS = NetworkParams(width=16, depth=2, heads=2, noise_width=4)


def random_case(rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    table = np.concatenate([rng.integers(0, 17, (rows, 16)), rng.integers(0, 3, (rows, 1))], 1)
    role = rng.integers(0, 3, (rows, L)).astype(np.uint8)
    role[:, 0] = TARGET
    return torch.from_numpy(SCHEMA.encode(table)), torch.from_numpy(role)


def drawn(network: Generator, x: torch.Tensor, role: torch.Tensor, rank: torch.Tensor | None = None) -> torch.Tensor:
    return network(x, role, torch.Generator().manual_seed(0), rank).features


@pytest.mark.parametrize("order", ["categorical_first", "one_pass"])
def test_generator_replaces_targets_only(order):
    torch.manual_seed(0)
    network = Generator(SCHEMA, NetworkParams(**{**vars(PARAMS), "order": order}))
    x, role = random_case(32)
    out = drawn(network, x, role)
    by_feature = role[:, SCHEMA.token_of_feature]
    assert torch.equal(out[by_feature == SOURCE], x[by_feature == SOURCE])
    assert (out[by_feature == HIDDEN] == 0).all()
    assert not torch.equal(out[by_feature == TARGET], x[by_feature == TARGET])
    label = out[:, -3:][role[:, -1] == TARGET]
    torch.testing.assert_close(label.sum(1), torch.ones(len(label)))
    if order == "categorical_first":
        assert set(label.detach().round(decimals=5).flatten().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("poison", [1e9, float("nan")])
def test_hidden_and_target_values_are_never_read(poison):
    torch.manual_seed(0)
    generator, critic = Generator(SCHEMA, PARAMS), Discriminator(SCHEMA, PARAMS, minibatch_group=1)
    x, role = random_case(16)
    by_feature = role[:, SCHEMA.token_of_feature]
    bad = torch.where(by_feature == SOURCE, x, torch.full_like(x, poison))
    assert torch.equal(drawn(generator, x, role), drawn(generator, bad, role))
    hidden = torch.where(by_feature == HIDDEN, torch.full_like(x, 1e9), x)
    torch.testing.assert_close(critic(x, role), critic(hidden, role))


def test_rank_makes_the_generator_causal():
    torch.manual_seed(0)
    network = Generator(SCHEMA, NetworkParams(**{**vars(PARAMS), "order": "one_pass"}))
    x, _ = random_case(4)
    role = torch.full((4, L), SOURCE, dtype=torch.uint8)
    role[:, :2] = TARGET
    rank = torch.arange(L, dtype=torch.int16).expand(4, L).contiguous()
    moved = x.clone()
    moved[:, SCHEMA.offsets[3] :] += 1.0
    targets = slice(0, int(SCHEMA.offsets[2]))
    assert torch.equal(drawn(network, x, role, rank)[:, targets], drawn(network, moved, role, rank)[:, targets])
    assert not torch.equal(drawn(network, x, role)[:, targets], drawn(network, moved, role)[:, targets])


@pytest.mark.parametrize("order", ["categorical_first", "one_pass"])
def test_dropout_drops_its_share_and_belongs_to_the_row(order):
    """Two processes that hold some rows each drop what one would; at dropout 0 and outside training nothing is drawn."""
    x, role = random_case(16)
    changes = {**vars(PARAMS), "order": order}

    def raw(dropout: float, rows: torch.Tensor, seed: int = 0, training: bool = True) -> torch.Tensor:
        torch.manual_seed(0)
        network = Generator(SCHEMA, NetworkParams(**{**changes, "dropout": dropout})).train(training)
        noise = RowNoise(torch.Generator().manual_seed(seed), len(x), rows)
        return network(x[rows], role[rows], noise).raw

    every = torch.arange(len(x))
    whole, parts = raw(0.5, every), [every[::2], every[1::2]]
    for part in parts:
        torch.testing.assert_close(raw(0.5, part), whole[part])
    plain = raw(0.0, every)
    assert not torch.allclose(whole, plain) and not torch.allclose(whole, raw(0.5, every, seed=1))
    assert torch.equal(raw(0.5, every, training=False), plain)


def test_dropout_keeps_the_mean():
    torch.manual_seed(0)
    block = Block(16, 2, 2.0, "reference", 0.25)
    x, packing = torch.randn(6, 16), make_packing(torch.ones(2, 3, dtype=torch.bool))
    draws = torch.rand((4000 * 6, 32), generator=torch.Generator().manual_seed(1)) >= 0.25
    every = make_packing(torch.ones(4000 * 2, 3, dtype=torch.bool))  # every draw in one call: 4000 calls took seconds
    mean = block(x.repeat(4000, 1), every, None, draws).unflatten(0, (4000, 6)).mean(0)
    torch.testing.assert_close(mean, block(x, packing, None), rtol=0, atol=0.03)


def test_discriminator_groups_never_mix():
    torch.manual_seed(0)
    critic = Discriminator(SCHEMA, PARAMS, minibatch_group=4)
    x, role = random_case(8)
    alone = critic(x[:4], role[:4])
    torch.testing.assert_close(critic(x, role)[:4], alone)


def test_logits_keep_their_differences_in_half_precision():
    torch.manual_seed(0)
    critic = Discriminator(SCHEMA, PARAMS, minibatch_group=4)
    x, role = random_case(8)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        near = critic(x, role)
        critic.cls_logit.bias += 1000.0
        far = critic(x, role)
    assert near.dtype == torch.float32
    torch.testing.assert_close(far - 1000.0, near, rtol=0, atol=2e-4)


def test_global_noise_reaches_every_target_without_attention():
    torch.manual_seed(0)
    generator = Generator(SCHEMA, PARAMS).eval()
    with torch.no_grad():
        generator.token_noise.weight.zero_()
        for block in generator.body.blocks:
            block.attention_out.weight.zero_()
        x, role = torch.zeros(2, SCHEMA.n_features), torch.full((2, SCHEMA.n_tokens), TARGET)
        raw = generator(x, role, torch.Generator().manual_seed(0)).raw
    patches = [i for i, t in enumerate(SCHEMA.tokens) if t.modality == "patch"]
    for token in patches:
        part = raw[:, SCHEMA.token_of_feature == token]
        assert not torch.allclose(part[0], part[1])


def test_r1_gradient_matches_double_precision_finite_differences():
    """The penalty differentiates attention twice: its gradient is checked against central differences."""
    torch.manual_seed(0)
    critic = Discriminator(SCHEMA, PARAMS, minibatch_group=2).double()
    x, role = random_case(6)
    x = x.double()
    weight = critic.body.blocks[0].query_key_value.weight

    def penalty() -> torch.Tensor:
        inputs = x.clone().requires_grad_(True)
        (g,) = torch.autograd.grad(critic(inputs, role).sum(), inputs, create_graph=True)
        return g.square().sum()

    (exact,) = torch.autograd.grad(penalty(), weight)
    direction = torch.randn_like(weight)
    with torch.no_grad():
        weight += 3e-6 * direction
    up = penalty().item()
    with torch.no_grad():
        weight -= 6e-6 * direction
    down = penalty().item()
    assert (up - down) / 6e-6 == pytest.approx((exact * direction).sum().item(), rel=1e-6)


def test_positions_on_a_grid_are_alike_where_patches_are_near():
    schema = image_label_schema(28, 28, 1, 2, 0.0, 255.0, ["a", "b"])
    positions = {}
    for kind in ("random", "grid"):
        torch.manual_seed(0)
        network = Generator(schema, NetworkParams(width=64, heads=2, position=kind))
        positions[kind] = network.body.position.detach()
    assert torch.equal(positions["random"][-1], positions["grid"][-1])  # the label is on no grid
    waves = positions["grid"][:-1].view(14, 14, 64)
    assert abs(float(waves.square().mean()) - float(positions["random"].square().mean())) < 0.05

    def alike(lines: int, columns: int) -> float:
        a, b = waves[: 14 - lines, : 14 - columns], waves[lines:, columns:]
        return float(torch.cosine_similarity(a, b, dim=-1).mean())

    assert alike(0, 1) > alike(0, 3) > 0.0
    assert alike(1, 0) > alike(3, 0) > alike(5, 5)
    assert float(torch.cdist(waves.view(-1, 64), waves.view(-1, 64)).fill_diagonal_(9).min()) > 0.5  # all differ
