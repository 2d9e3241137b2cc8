"""The stages of a training: the context network alone, then the transformer with it, then the discriminator as well."""

from __future__ import annotations

import pytest
import torch

from kernels.task_sampling import HIDDEN, SOURCE
from pipeline.base.model_groups import TrainParams
from pipeline.training.losses import further_names
from pipeline.training.schedule import body_start, learning_rate_factor, plan_of
from pipeline.training.step import TrainingStep
from tests.training.test_energy_score import make_reader, make_step

STAGES = {"energy_weight": 2.0, "body_start": 0.4, "adversarial_start": 0.6}  # of make_step's 100 steps


def values_of(state: TrainingStep, prefix: str) -> torch.Tensor:
    named = state.generator.named_parameters()
    return torch.cat([p.detach().reshape(-1).clone() for name, p in named if name.startswith(prefix)])


def test_before_its_turn_the_transformer_rests_and_the_context_and_the_categories_learn(tmp_path):
    reader, state = make_reader(tmp_path), make_step(**STAGES)
    before = {name: values_of(state, name) for name in ("body", "refinement", "context", "categories")}
    losses, _ = state(reader(0), 39, 0)
    assert losses["energy_score"] > 0 and losses["cross_entropy"] > 0
    moved = {name: not torch.equal(values_of(state, name), value) for name, value in before.items()}
    assert moved == {"body": False, "refinement": False, "context": True, "categories": True}
    for step in (40, 41):  # its heads start at zero: the first update moves them, the second what they read
        state(reader(step), step, step)
    assert not torch.equal(values_of(state, "body"), before["body"])


def test_what_the_transformer_adds_starts_at_zero(tmp_path):
    """So that it joins without a jump: the draws are those of the context alone until it has learnt."""
    batch, state = make_reader(tmp_path)(0), make_step(**STAGES)
    state(batch, 0, 0)  # which moves the context from where it draws zeros
    generator, drawn = state.generator.eval(), []
    for generator.context_alone in (True, False):
        raw = generator.context(batch.features, batch.role == SOURCE, torch.zeros(16, generator.noise_width))[1]
        drawn.append(raw if generator.context_alone else outputs_without_noise(generator, batch))
    continuous = ~generator.discrete[generator.token_of_feature]
    torch.testing.assert_close(torch.tanh(drawn[0][:, continuous]), drawn[1][:, continuous])


def outputs_without_noise(generator, batch) -> torch.Tensor:
    with torch.no_grad():
        generator.token_noise.weight.zero_()
        generator.context.first.weight[:, -generator.noise_width :].zero_()
    return generator._raw(batch.features, batch.role, torch.Generator().manual_seed(0), None)


def test_the_discriminator_starts_from_the_generator_once(tmp_path):
    reader, state = make_reader(tmp_path), make_step(**STAGES, lr=0.0)
    state(reader(59), 59, 0)
    assert not same_body(state)
    learnt = values_of(state, "body")
    state(reader(60), 60, 0)  # with step size 0 it stays what it started from; the generator's turn comes after it
    taken = torch.cat([p.detach().reshape(-1) for p in state.discriminator.body.parameters()])
    assert torch.equal(taken, learnt)
    state(reader(61), 61, 0)
    assert not same_body(state)


def test_a_discriminator_that_has_had_its_turn_is_kept_after_a_restart(tmp_path):
    reader, state = make_reader(tmp_path), make_step(**STAGES)
    state(reader(60), 60, 0)
    state.started = False  # as in a new process, which has loaded the moments
    before = state.discriminator.body.position.detach().clone()
    state.adam_d.param_groups[0]["lr"] = 0.0
    state.params.lr = 0.0
    state(reader(61), 61, 0)
    assert torch.equal(state.discriminator.body.position, before)


def same_body(state: TrainingStep) -> bool:
    theirs = state.generator.body.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in state.discriminator.body.state_dict().items())


def test_schedule():
    params = TrainParams(steps=100, warmup_steps=10, decay_start=0.9, body_start=0.4, adversarial_start=0.6)
    alone = [plan_of(params, step).context_alone for step in (0, 39, 40, 99)]
    assert alone == [True, True, False, False]
    factors = [learning_rate_factor(params, step) for step in (0, 9, 39, 40, 44, 49, 89)]
    assert factors == pytest.approx([0.1, 1.0, 1.0, 0.1, 0.5, 1.0, 1.0])  # warm again when the transformer joins
    assert body_start(TrainParams(body_start=0.5, adversarial_start=0.2)) == 0.2  # with the discriminator at the latest
    assert body_start(TrainParams(body_start=0.5, adversarial_start=0.2, adversarial_weight=0.0)) == 0.5


def test_where_nothing_would_learn_before_it_the_transformer_starts_at_once():
    state = make_step(energy_weight=0.0, energy_final_weight=0.0, body_start=0.4, adversarial_start=0.6)
    assert not state.plan(0).context_alone and state.plan(40).generator_lr == state.plan(39).generator_lr


def test_further_names_are_nats_of_the_visible_categories_outside_the_part(tmp_path):
    batch, state, sets = make_reader(tmp_path)(0), make_step(**STAGES), 3
    network, parts = state.generator.categories, []
    network.register_forward_pre_hook(lambda _, inputs: parts.append(inputs[1]))
    found = further_names(network, batch.features, batch.role, sets, torch.Generator().manual_seed(0))
    (read,) = parts
    visible, nats = (batch.role != HIDDEN).repeat_interleave(sets, 0), 0.0
    assert not (read & ~visible).any() and 0 < int(read.sum()) < int(visible.sum())
    label = read.shape[1] - 1
    for row, (seen, may) in enumerate(zip(read, visible, strict=True)):
        if may[label] and not seen[label]:
            features = batch.features[row // sets][None]
            logits = network(features, seen[None]).detach()[:, -3:]
            nats -= float((logits.log_softmax(1) * features[:, -3:]).sum())
    assert float(found.detach()) == pytest.approx(nats / len(read), rel=1e-5)
    assert further_names(None, batch.features, batch.role, sets, None) is None
    assert further_names(network, batch.features, batch.role, 0, None) is None
