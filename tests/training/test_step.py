"""The training step: every objective runs and learns, schedules and the averaged generator are as declared, NaN is caught."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from kernels.task_sampling import SOURCE, TaskBank, write_bank
from pipeline.base.data_groups import TasksParams
from pipeline.base.model_groups import NetworkParams, TrainParams
from pipeline.model.discriminator import Discriminator
from pipeline.model.generator import Generator
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.training.batches import Batch, BatchReader
from pipeline.training.schedule import learning_rate_factor, mismatch_weight
from pipeline.training.step import NonFiniteError, TrainingStep
from tests.helpers.training_case import ADVERSARIAL

SCHEMA = image_label_schema(4, 4, 1, 2, 0.0, 16.0, ["a", "b", "c"])
NETWORK = NetworkParams(width=8, depth=1, heads=2, noise_width=4)
FIXED = {**ADVERSARIAL, "mismatch_weight": 1.0, "mismatch_final_weight": 0.01}
ALL_FAMILIES = TasksParams(weights={"joint": 1.0, "modality": 1.0, "half": 1.0, "causal": 1.0, "permutation": 1.0})


@pytest.fixture(scope="module")
def batches(tmp_path_factory) -> list[Batch]:
    folder = tmp_path_factory.mktemp("bank") / "train"
    write_bank(folder, spec_from_schema(ALL_FAMILIES, SCHEMA), 512, 3, 0)
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.integers(0, 17, (64, 16)), rng.integers(0, 3, (64, 1))], 1).astype(np.float32)
    reader = BatchReader(rows, SCHEMA, TaskBank.open(folder), 16, seed=1, minibatch_group=4, pairs=True)
    return [reader(i) for i in range(4)]


def fresh(*, dropout: float = 0.0, **changes) -> TrainingStep:
    torch.manual_seed(0)
    params = TrainParams(**{"steps": 100, "minibatch_group": 4, "warmup_steps": 0, **FIXED, **changes})
    generator = Generator(SCHEMA, replace(NETWORK, dropout=dropout))
    critic = Discriminator(SCHEMA, NETWORK, patch_logit=params.patch_logit, minibatch_group=4)
    return TrainingStep(generator, critic, deepcopy(generator), params)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": "non_saturating"},
        {"loss": "hinge", "penalty": "approximate"},
        {"communication_weight": 1.0},
        {"mismatch_weight": 0.0, "mismatch_final_weight": 0.0, "penalty": "none", "patch_logit": False},
        {"adversarial_weight": 0.0, "continuous_likelihood_weight": 1.0},
        {"likelihood_weight": 0.0, "straight_through": True},
    ],
)
def test_every_objective_moves_what_it_trains(batches, changes):
    state = fresh(**changes)
    generator, critic = state.flat_g.values.clone(), state.flat_d.values.clone()
    for step in range(3):
        losses, statistics = state(batches[step], step, noise_seed=step)
        assert all(torch.isfinite(v) for v in losses.values()), losses
    assert not torch.equal(generator, state.flat_g.values)
    adversarial = changes.get("adversarial_weight", 1.0) > 0
    assert torch.equal(critic, state.flat_d.values) != adversarial
    assert (statistics is not None) == adversarial
    assert ("r1" in losses) == (adversarial and changes.get("penalty") != "none" and 2 % 4 == 0)


def test_penalty_comes_each_interval_steps(batches):
    state = fresh(penalty_interval=2)
    seen = ["r1" in state(batches[0], step, step)[0] for step in range(4)]
    assert seen == [True, False, True, False]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_one_step_is_a_pure_function_of_state_batch_and_seed(batches, dropout):
    one, two = (fresh(communication_weight=0.5, dropout=dropout) for _ in range(2))
    for i, state in enumerate((one, two)):
        torch.manual_seed(i)
        before = torch.get_rng_state()
        state(batches[0], 0, noise_seed=11)
        assert torch.equal(before, torch.get_rng_state())  # the global random state plays no part
    assert torch.equal(one.flat_g.values, two.flat_g.values) and torch.equal(one.flat_d.values, two.flat_d.values)


def test_likelihood_alone_learns(batches):
    state = fresh(adversarial_weight=0.0, continuous_likelihood_weight=1.0, generator_lr=1e-2, steps=10**6)
    first = state(batches[0], 0, 0)[0]
    for step in range(1, 60):
        last = state(batches[0], step, step)[0]
    assert last["absolute_error"] < first["absolute_error"] and last["cross_entropy"] < first["cross_entropy"]


def test_average_follows_the_generator(batches):
    state = fresh(ema_decay=0.5)
    before = state.flat_average.values.clone()
    state(batches[0], 100, 0)
    torch.testing.assert_close(state.flat_average.values, 0.5 * before + 0.5 * state.flat_g.values)


def test_logits_that_drifted_come_back(batches):
    """Only differences of logits enter a relativistic loss, each of its pairs once: it must not move their mean."""
    pulls = {}
    for weight in (0.0, 1e-3):
        state = fresh(drift_weight=weight, penalty="none", clip_norm=0.0)
        with torch.no_grad():
            state.discriminator.cls_logit.bias.fill_(50.0)
        batch = batches[0]
        assert len(batch.mismatch_index) > (batch.role == SOURCE).any(1).sum(), "the case must repeat a row"
        state(batch, 0, 0)
        pulls[weight] = state.discriminator.cls_logit.bias.grad.item()
    assert abs(pulls[0.0]) < 1e-6
    assert pulls[1e-3] == pytest.approx(2 * 1e-3 * 50.0, rel=0.1)


def test_gradients_are_clipped(batches):
    state = fresh(clip_norm=1e-3)
    state(batches[0], 0, 0)
    assert state.flat_g.gradients.norm() <= 1.001e-3 and state.flat_d.gradients.norm() <= 1.001e-3


def test_updates_that_are_not_finite_are_skipped_then_refused(batches):
    state = fresh()
    kept = state.flat_g.values.clone()
    bad = Batch(**{**vars(batches[0]), "features": batches[0].features * float("nan")})
    with pytest.raises(NonFiniteError, match="'train.lr' or 'train.penalty_weight' does not suit"):
        for step in range(20):
            state(bad, step, step)
    assert torch.equal(kept, state.flat_g.values)


def test_learning_rate_warms_up_holds_and_falls():
    params = TrainParams(steps=100, warmup_steps=10, decay_start=0.5)
    factors = [learning_rate_factor(params, s) for s in range(100)]
    assert factors[0] == 0.1 and factors[9] == factors[50] == 1.0
    assert factors[75] == pytest.approx(0.5) and factors[99] == pytest.approx(0.02)


def test_mismatch_weight_falls_to_its_final_value():
    params = TrainParams(
        mismatch_weight=1.0, mismatch_final_weight=0.2, mismatch_decay_end=0.5
    )  # of the adversarial part
    assert [round(mismatch_weight(params, s), 6) for s in (0.0, 0.25, 0.5, 1.0)] == [1.0, 0.6, 0.2, 0.2]
    params.mismatch_decay_end = 0.0
    assert mismatch_weight(params, 0.0) == 0.2
