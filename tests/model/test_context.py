"""What a network reads beside the attention: known categories reach every token, known pixels the patches beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from kernels.task_sampling import HIDDEN, SOURCE, TARGET
from pipeline.base.model_groups import NetworkParams
from pipeline.model.discriminator import Discriminator
from pipeline.model.generator import Generator
from pipeline.rows.image_schema import image_label_schema

SCHEMA = image_label_schema(8, 12, 1, 4, 0.0, 255.0, ["a", "b", "c"])
NETWORK = NetworkParams(width=16, depth=1, heads=2, noise_width=4, convolution_channels=5)
PATCHES, PIXELS = 6, 96


def rows(n: int, label: int = 0) -> torch.Tensor:
    table = np.random.default_rng(0).integers(0, 256, (n, PIXELS + 1))
    table[:, -1] = label
    return torch.from_numpy(SCHEMA.encode(table))


def without_attention(network: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for block in network.body.blocks:
            block.attention_out.weight.zero_()
    return network.eval()


def generator(params: NetworkParams = NETWORK) -> Generator:
    torch.manual_seed(0)
    return without_attention(Generator(SCHEMA, params))


def patches_of(network: Generator, x: torch.Tensor, role: torch.Tensor, rank: torch.Tensor | None = None):
    with torch.no_grad():
        raw = network(x, role, torch.Generator().manual_seed(0), rank).raw
    return raw[:, :PIXELS].reshape(len(x), PATCHES, -1)


def test_a_known_category_reaches_every_target_without_attention():
    role = torch.tensor([[TARGET] * 6 + [SOURCE]])
    one, other = (patches_of(generator(), rows(1, label), role) for label in (0, 1))
    assert (one != other).any(2).all()


@pytest.mark.parametrize("poison", [1e9, float("nan")])
def test_a_category_that_is_not_given_has_no_influence(poison):
    role = torch.tensor([[TARGET] * 6 + [HIDDEN]])
    x = rows(1)
    other = x.clone()
    other[:, PIXELS:] = poison
    assert torch.equal(patches_of(generator(), x, role), patches_of(generator(), other, role))


def test_rows_with_ranks_get_neither_categories_nor_pixels_but_through_attention():
    """A category may come last: what comes before it must not see it."""
    rank = torch.arange(SCHEMA.n_tokens, dtype=torch.int16)[None]
    role = torch.tensor([[SOURCE] + [TARGET] * 5 + [SOURCE]])
    x, other = rows(1, 0), rows(1, 1)
    other[:, :16] = -x[:, :16]
    one, two = (patches_of(generator(), rows_, role, rank) for rows_ in (x, other))
    assert torch.equal(one[:, 1:], two[:, 1:])
    free = torch.zeros_like(rank)
    assert not torch.equal(*(patches_of(generator(), rows_, role, free)[:, 1:] for rows_ in (x, other)))


def test_a_target_reads_the_known_pixels_beside_it():
    network = generator()
    with torch.no_grad():
        network.refinement.last.weight.zero_()  # what is read, not what is corrected
        network.context.second.weight.zero_()  # which tells every target of every pixel
    role = torch.tensor([[SOURCE, TARGET, TARGET, HIDDEN, HIDDEN, HIDDEN, HIDDEN]])
    x = rows(1)
    other = x.clone()
    other[:, :16] *= -1
    before, after = patches_of(network, x, role)[0], patches_of(network, other, role)[0]
    assert not torch.equal(before[1], after[1]) and torch.equal(before[2], after[2])


def test_the_discriminator_hears_of_the_category_at_every_token():
    torch.manual_seed(0)
    critic = without_attention(Discriminator(SCHEMA, NETWORK, minibatch_group=2)).double()
    with torch.no_grad():
        critic.cls_logit.weight.zero_()  # the logit of patches alone
    role = torch.tensor([[TARGET] * 6 + [SOURCE]]).repeat(2, 1)
    assert (critic(rows(2, 0).double(), role) != critic(rows(2, 1).double(), role)).all()
    hidden = torch.tensor([[TARGET] * 6 + [HIDDEN]]).repeat(2, 1)
    assert torch.equal(critic(rows(2, 0).double(), hidden), critic(rows(2, 1).double(), hidden))


def test_without_categories_there_is_a_context_and_without_anything_else_none():
    patches = replace(SCHEMA, tokens=SCHEMA.tokens[:-1], columns=SCHEMA.columns[:-1], label="", categories={})
    role = torch.tensor([[SOURCE] + [TARGET] * 5])
    assert torch.isfinite(Generator(patches, NETWORK)(rows(1)[:, :PIXELS], role).features).all()
    label = replace(SCHEMA.tokens[-1], columns=(0,))
    alone = replace(SCHEMA, tokens=(label,), columns=SCHEMA.columns[-1:], image=None)
    assert Generator(alone, NETWORK).context is None


def test_the_discriminator_takes_over_what_the_generator_reads():
    torch.manual_seed(0)
    network, critic = Generator(SCHEMA, NETWORK), Discriminator(SCHEMA, NETWORK, minibatch_group=2)
    critic.start_from(network)
    role = torch.tensor([[SOURCE] * 7]).repeat(2, 1)
    x = rows(2)
    tokens, cls = critic.inputs(x, role)
    context, _ = network.context(x, role == SOURCE)
    torch.testing.assert_close(cls, context)
    torch.testing.assert_close(tokens, network._read(x, role, None, None, quiet=True)[0] + context[:, None])
    for name, value in network.body.state_dict().items():
        assert torch.equal(value, critic.body.state_dict()[name])
        assert value.data_ptr() != critic.body.state_dict()[name].data_ptr()


@pytest.mark.parametrize("network", ["row", "both"])
def test_categories_read_what_they_may_see(network):
    """Of tokens in an order, those before the category; without one every source."""
    torch.manual_seed(0)
    generates = Generator(SCHEMA, replace(NETWORK, category_network=network)).eval()
    role = torch.tensor([[SOURCE, TARGET, TARGET, SOURCE, HIDDEN, HIDDEN, TARGET]])
    rank = torch.tensor([[0, 0, 0, 2, 0, 0, 1]], dtype=torch.int16)
    x, before, after = rows(1), rows(1), rows(1)
    before[:, :16] *= -1
    after[:, 48:64] *= -1

    def logits(features: torch.Tensor, rank: torch.Tensor | None) -> torch.Tensor:
        with torch.no_grad():
            return generates(features, role, torch.Generator().manual_seed(0), rank).raw[:, PIXELS:]

    assert torch.equal(logits(x, rank), logits(after, rank)) and not torch.equal(logits(x, rank), logits(before, rank))
    assert not torch.equal(logits(x, None), logits(after, None))


def test_categories_of_the_row_alone_cost_no_pass_of_the_transformer():
    torch.manual_seed(0)
    passes = []
    for network in ("row", "both"):
        generates = Generator(SCHEMA, replace(NETWORK, category_network=network)).eval()
        generates.body.register_forward_hook(lambda *_: passes.append(1))
        generates(rows(2), torch.tensor([[SOURCE] * 6 + [TARGET]] * 2), torch.Generator().manual_seed(0))
    assert len(passes) == 1 + 2
