"""Convolutions over the image: they see both sides of an edge between patches, and nothing they must not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from kernels.task_sampling import HIDDEN, SOURCE, TARGET
from pipeline.base.model_groups import NetworkParams
from pipeline.model.convolutions import Assembly
from pipeline.model.discriminator import Discriminator
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.image_schema import image_label_schema
from pipeline.training.input_gradient import block_forward, block_gradient, input_gradient
from pipeline.training.losses import exact_penalty

SCHEMA = image_label_schema(8, 12, 3, 4, 0.0, 255.0, ["a", "b"])
PARAMS = NetworkParams(width=16, depth=1, heads=2, noise_width=4, convolution_channels=5)
PATCHES = SCHEMA.n_tokens - 1
PIXELS = 8 * 12 * 3


def rows(n: int) -> torch.Tensor:
    table = np.random.default_rng(0).integers(0, 256, (n, PIXELS + 1))
    table[:, -1] = 0
    return torch.from_numpy(SCHEMA.encode(table))


def generator(*, attends: bool = True) -> Generator:
    """A generator whose refinement has left its start; without attention and context nothing else passes between tokens."""
    torch.manual_seed(0)
    network = Generator(SCHEMA, PARAMS).eval()
    with torch.no_grad():
        torch.nn.init.normal_(network.refinement.last.weight, std=0.3)
        if not attends:
            for block in network.body.blocks:
                block.attention_out.weight.zero_()
            network.context.second.weight.zero_()
    return network


def patches_of(network: Generator, x: torch.Tensor, role: torch.Tensor, rank: torch.Tensor | None = None):
    with torch.no_grad():
        raw = network(x, role, torch.Generator().manual_seed(0), rank).raw
    return raw[:, :PIXELS].reshape(len(x), PATCHES, -1)


def roles(*patches: int) -> torch.Tensor:
    """(1, L) roles of the six patches, two rows of three; the label is hidden."""
    return torch.tensor([[*patches, HIDDEN]])


def test_the_image_is_that_of_the_schema():
    x = rows(2)
    assembly = Assembly(SCHEMA)
    image = assembly.image(x[:, :PIXELS].reshape(2, PATCHES, -1))
    pixels = torch.from_numpy(SCHEMA.images(SCHEMA.decode(x.numpy()))).permute(0, 3, 1, 2)
    torch.testing.assert_close(image * 127.5 + 127.5, pixels, rtol=0, atol=1e-3)
    assert torch.equal(assembly.patches(image), x[:, :PIXELS].reshape(2, PATCHES, -1))


def test_at_the_start_the_refinement_changes_nothing():
    torch.manual_seed(0)
    network = Generator(SCHEMA, PARAMS)
    with torch.no_grad():
        network.stem.embed.weight.zero_()
    plain = Generator(SCHEMA, replace(PARAMS, convolution_channels=0))
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith(("refinement.", "stem."))})
    x, role = rows(2), roles(*[TARGET] * 6).repeat(2, 1)
    assert torch.equal(patches_of(network, x, role), patches_of(plain, x, role))


def test_a_patch_sees_the_known_pixels_beside_it_alone():
    network, role = generator(attends=False), roles(SOURCE, TARGET, TARGET, HIDDEN, HIDDEN, HIDDEN)
    with torch.no_grad():
        network.stem.embed.weight.zero_()  # the refinement alone: the stem's two convolutions tell the whole patch
    x = rows(1)
    other = x.clone()
    other[:, : PIXELS // 6] *= -1  # the pixels of patch 0
    before, after = patches_of(network, x, role)[0], patches_of(network, other, role)[0]
    changed = (before[1] != after[1]).view(4, 4, 3)
    assert changed[:, :3].all() and not changed[:, 3].any()  # three convolutions reach three pixels
    assert torch.equal(before[2], after[2])


@pytest.mark.parametrize("poison", [1e9, float("nan")])
def test_hidden_patches_have_no_influence(poison):
    network, role = generator(), roles(SOURCE, TARGET, TARGET, HIDDEN, HIDDEN, TARGET)
    x = rows(1)
    other = x.clone()
    unread = (role != SOURCE)[:, SCHEMA.token_of_feature]
    other[unread] = poison
    targets = [1, 2, 5]
    assert torch.equal(patches_of(network, x, role)[:, targets], patches_of(network, other, role)[:, targets])


def critic(*, attends: bool = True) -> Discriminator:
    torch.manual_seed(0)
    network = Discriminator(SCHEMA, PARAMS, minibatch_group=2, attention_backend="reference").double()
    if not attends:
        with torch.no_grad():
            for block in network.body.blocks:
                block.attention_out.weight.zero_()
            network.context.second.weight.zero_()
    return network


@pytest.mark.parametrize("poison", [1e9, float("nan")])
def test_the_discriminator_reads_visible_patches_alone(poison):
    role = roles(SOURCE, TARGET, TARGET, HIDDEN, HIDDEN, TARGET).repeat(2, 1)
    x = rows(2).double()
    other = torch.where((role == HIDDEN)[:, SCHEMA.token_of_feature], poison, x)
    for network in (critic(), critic(attends=False)):
        assert torch.equal(network(x, role), network(other, role))


def test_the_discriminator_sees_both_sides_of_an_edge():
    """Without attention the logit is a sum over tokens; its mixed second derivative over an edge is the stem's."""
    network, role = critic(attends=False), roles(*[TARGET] * 6).repeat(2, 1)
    x = rows(2).double().requires_grad_(True)
    pixel = {
        (r, c): (c // 4 * 16 + r * 4 + c % 4) * 3 for r in range(4) for c in range(12)
    }  # first colour, upper patches
    (g,) = torch.autograd.grad(network(x, role).sum(), x, create_graph=True)
    (across,) = torch.autograd.grad(g[0, pixel[1, 3]], x)
    assert across[0, pixel[1, 4]] != 0 and across[0, pixel[1, 11]] == 0


def test_the_penalty_written_out_covers_the_stem():
    network, x = critic(), rows(4).double()
    role = roles(SOURCE, TARGET, TARGET, HIDDEN, TARGET, TARGET).repeat(4, 1)
    gradient = input_gradient(network, x, role, block_forward, block_gradient)
    torch.testing.assert_close(gradient.square().sum(1), exact_penalty(network, x, role), rtol=1e-10, atol=1e-12)


def test_rows_with_ranks_are_not_refined():
    """A convolution does not know the order in which tokens may see one another."""
    network, role = generator(), roles(*[TARGET] * 6).repeat(2, 1)
    x = rows(2)
    rank = torch.zeros(2, SCHEMA.n_tokens, dtype=torch.int16)
    rank[1, :6] = torch.arange(6)
    refined = patches_of(network, x, role, rank)
    with torch.no_grad():
        network.refinement.last.weight.zero_()
    plain = patches_of(network, x, role, rank)
    assert not torch.equal(refined[0], plain[0]) and torch.equal(refined[1], plain[1])


def test_a_saved_generator_keeps_it(tmp_path):
    network = generator()
    Sampler.save(tmp_path / "generator", network, SCHEMA, vars(PARAMS), 8)
    drawn = Sampler.load(tmp_path / "generator").sample(3, seed=1)
    np.testing.assert_array_equal(drawn, Sampler(network, SCHEMA, batch_size=8).sample(3, seed=1))


def test_without_an_image_there_are_none():
    schema = replace(SCHEMA, image=None)
    network = Generator(schema, PARAMS)
    assert network.refinement is None and network.stem is None and Discriminator(schema, PARAMS).stem is None
