"""A step with fixed shapes, which CUDA graphs capture: it does what a step with exact shapes does and never waits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.base.model_groups import TrainParams
from pipeline.base.params import merge_params
from pipeline.training.batches import Counts
from pipeline.training.build import build_step
from pipeline.training.graphs import FixedStep
from pipeline.training.step import TrainingStep
from tests.helpers.graph_case import EARLIER, MIXTURE, NETWORK, SCHEMA, make_reader
from tests.helpers.training_case import ADVERSARIAL

WAITING = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten.repeat_interleave.Tensor,
    torch.ops.aten.equal.default,
}


class NeverWaits(TorchDispatchMode):
    """Fails at an operation that would wait for a GPU: one whose result's shape or host value depends on data."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function not in WAITING, f"{function} waits for the device"
        if function is torch.ops.aten.index.Tensor:
            assert all(i is None or i.dtype != torch.bool for i in args[1]), "indexing with a mask waits for the device"
        return function(*args, **(kwargs or {}))


def make_step(**changes) -> TrainingStep:
    network = replace(NETWORK, **{k: changes.pop(k) for k in ("choice_passes", "convolution_channels") if k in changes})
    settings = {"steps": 100, "minibatch_group": 4, "warmup_steps": 4, "penalty_interval": 2, **ADVERSARIAL, **EARLIER}
    train = TrainParams(**(settings | changes))
    params = replace(merge_params({}), network=network, train=train)
    return build_step(params, SCHEMA, torch.device("cpu"), 0)


@pytest.mark.parametrize(
    ("changes", "weights"),
    [
        ({}, MIXTURE),
        ({"communication_weight": 0.5, "loss": "non_saturating"}, MIXTURE),
        ({"mismatch_final_weight": 0.0, "mismatch_decay_end": 0.01}, MIXTURE),
        ({"penalty": "approximate"}, {"causal": 1.0, "beta_random": 1.0}),
        ({"adversarial_weight": 0.0, "continuous_likelihood_weight": 1.0}, MIXTURE),
        ({"choice_passes": 3}, MIXTURE),
        ({"energy_weight": 1.0}, MIXTURE),
        ({"convolution_channels": 4}, MIXTURE),
    ],
)
def test_fixed_shapes_give_the_same_step_and_never_wait(tmp_path, changes, weights):
    reader = make_reader(tmp_path, weights, pairs=changes.get("communication_weight", 0) > 0)
    exact, fixed_state = make_step(**changes), make_step(**changes)
    fixed = FixedStep(fixed_state)
    for step in range(6):
        losses, _ = exact(reader(step), step, noise_seed=step)
        plan = fixed_state.plan(step)
        fixed.load(reader(step), plan, noise_seed=step)
        with NeverWaits():
            found, _ = fixed.run(plan)
        assert found.keys() == losses.keys()
        for name, value in losses.items():
            torch.testing.assert_close(found[name], value, rtol=2e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    for name in (
        "flat_g",
        "flat_d",
        "flat_average",
    ):  # Adam turns rounding of tiny gradients into steps: a few per cent
        before, after, found = (getattr(s, name).values for s in (make_step(**changes), exact, fixed_state))
        assert (found - after).norm() <= 0.02 * (after - before).norm(), name


def test_room_grows_only(tmp_path):
    reader = make_reader(tmp_path, {"joint": 4.0, "modality": 1.0})
    fixed = FixedStep(make_step())
    plan = fixed.state.plan(0)
    batches = [reader(i) for i in range(8)]
    grown = [fixed.load(b, plan, 0) for b in batches]
    assert grown[0]
    generator, critic = fixed.state.generator, fixed.state.discriminator.critic_shapes
    roomy = generator.body.fixed_shapes
    assert not any(fixed.load(b, plan, 0) for b in batches)
    assert fixed.state.discriminator.body.fixed_shapes == roomy
    assert roomy.tokens_per_row * 16 >= max(b.room.whole for b in batches)
    assert roomy.longest_row >= max(b.room.longest_row for b in batches)
    assert generator.first_shapes.tokens_per_row * 16 >= max(b.room.first for b in batches)
    assert generator.second_shapes.tokens_per_row * 16 >= max(b.room.second for b in batches)
    assert critic.tokens_per_row * 48 >= max(b.room.critic for b in batches)
    assert generator.first_shapes.tokens_per_row < roomy.tokens_per_row
    assert critic.tokens_per_row < roomy.tokens_per_row


def test_a_step_that_is_not_finite_changes_nothing_but_the_count(tmp_path):
    reader = make_reader(tmp_path, MIXTURE)
    state = make_step()
    fixed = FixedStep(state)
    before = state.flat_g.values.clone(), state.flat_d.values.clone()
    batch = reader(0)
    fixed.load(replace(batch, features=torch.full_like(batch.features, torch.inf)), state.plan(0), 0)
    fixed.run(state.plan(0))
    assert torch.equal(before[0], state.flat_g.values) and torch.equal(before[1], state.flat_d.values)
    assert int(state.non_finite) == 2
    fixed.load(batch, state.plan(1), 1)
    fixed.run(state.plan(1))
    assert int(state.non_finite) == 0 and torch.isfinite(state.flat_g.values).all()


def test_a_batch_of_several_processes_is_refused(tmp_path):
    batch = replace(make_reader(tmp_path, MIXTURE)(0), relative=Counts(2.0, 1.0, 1.0))
    fixed = FixedStep(make_step())
    with pytest.raises(ValueError, match="must run in one process. Got a batch of several"):
        fixed.load(batch, fixed.state.plan(0), 0)
